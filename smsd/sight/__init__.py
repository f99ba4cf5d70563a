"""What the gateway shows of itself to Prometheus, on a listener of its own.

The floors below count, and know nothing of this. Only here have the counts names that others rely
on (`catalogue`), and only when somebody looks are they put into words (`metric`, `page`).
"""
