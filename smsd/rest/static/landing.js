// The page works without this file: it only fills in this gateway's own address, adds the copy
// buttons, and says whether the gateway is ready.
const own = location.origin;
const local = "http://127.0.0.1:8080";

for (const base of document.querySelectorAll(".base")) base.textContent = own;
for (const away of document.querySelectorAll(".away")) {
  if (own === local) away.remove(); // not only hidden: copying takes all the text there is
  else away.hidden = false;
}

const say = document.getElementById("say");

async function copy(button, command) {
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
    say.textContent = "Copied to the clipboard";
  } catch {
    // Without https the browser may keep the clipboard to itself: mark the text instead.
    getSelection().selectAllChildren(command);
    button.textContent = "Press Ctrl+C";
    say.textContent = "The command is selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; say.textContent = ""; }, 2000);
}

for (const command of document.querySelectorAll(".command code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${command.dataset.name}`);
  button.addEventListener("click", () => copy(button, command));
  command.closest(".command").append(button);
}

const state = document.getElementById("state");

async function look() {
  let ready = false;
  try { ready = (await fetch("/ready", { cache: "no-store" })).ok; } catch { /* not ready */ }
  state.textContent = ready ? "ready" : "not ready";
  state.className = ready ? "state ready" : "state away";
  state.hidden = false;
}
look();
