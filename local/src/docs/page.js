// Adds a copy button to each command.
for (const command of document.querySelectorAll("pre.curl")) {
  const button = document.createElement("button");
  const text = command.textContent;
  button.textContent = "Copy";
  button.onclick = async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  };
  command.append(button);
}
// Opens the folded section that the address links to.
const unfold = () => {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (target) target.closest("details")?.setAttribute("open", "");
};
addEventListener("hashchange", unfold);
unfold();
