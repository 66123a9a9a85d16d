/** A confusion matrix whose cells can be chosen.
 *
 * `data` is {label, classes: [{name, colour}], rows: [{value, share: [..]}], columns: [value], chosen: "truth,predicted"},
 * shares in [0,1] of the row's pixels. Calls the trigger `choice` with "truth,predicted", or "truth" for a whole class;
 * with "" when the chosen one is clicked again.
 */

const percent = (share) => (share >= 0.995 ? "100" : share >= 0.005 ? String(Math.round(100 * share)) : "");

export default function ({ data, parentElement, setTriggerValue }) {
  const before = parentElement.querySelector(".matrix");
  const matrix = document.createElement("div");
  matrix.className = "matrix";
  matrix.setAttribute("role", "group");
  matrix.setAttribute("aria-label", data.label);
  matrix.style.setProperty("--count", data.columns.length);
  const name = (value) => data.classes[value].name;
  const button = (kind, key, text, said) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = kind;
    made.dataset.key = key;
    made.textContent = text;
    made.title = said;
    made.setAttribute("aria-label", said);
    made.setAttribute("aria-pressed", String(key === data.chosen));
    return made;
  };
  const corner = document.createElement("span");
  corner.className = "corner";
  corner.textContent = "true ↓ predicted →";
  matrix.append(corner);
  for (const value of data.columns) {
    const head = document.createElement("span");
    head.className = "head";
    head.textContent = name(value);
    matrix.append(head);
  }
  for (const { value, share } of data.rows) {
    const row = button("class", String(value), name(value), `The images in which ${name(value)} is segmented worst`);
    row.style.setProperty("--dot", data.classes[value].colour);
    matrix.append(row);
    data.columns.forEach((predicted, i) => {
      const right = predicted === value;
      const said = right
        ? `${name(value)}: ${(100 * share[i]).toFixed(1)} % right`
        : `${name(value)} predicted as ${name(predicted)}: ${(100 * share[i]).toFixed(1)} %`;
      const cell = button(right ? "cell right" : "cell", `${value},${predicted}`, percent(share[i]), said);
      cell.style.setProperty("--share", Math.sqrt(share[i]).toFixed(3)); // so that small shares can be seen
      cell.disabled = right || !share[i];
      matrix.append(cell);
    });
  }
  matrix.onclick = (event) => {
    const chosen = event.target.closest("button");
    if (!chosen || chosen.disabled) return;
    const again = chosen.getAttribute("aria-pressed") === "true";
    // Shown at once; the server's answer follows.
    matrix.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === chosen && !again)));
    setTriggerValue("choice", again ? "" : chosen.dataset.key);
  };
  matrix.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: data.columns.length + 1, ArrowUp: -data.columns.length - 1 }[event.key];
    const at = [...matrix.children].indexOf(event.target);
    if (!step || at < 0) return;
    event.preventDefault();
    for (let to = at + step; matrix.children[to]; to += step)
      if (matrix.children[to].matches("button:not(:disabled)")) return matrix.children[to].focus();
  };
  const held = before?.querySelector("button:focus")?.dataset.key;
  const [left, top] = [before?.scrollLeft ?? 0, before?.scrollTop ?? 0];
  if (before) before.replaceWith(matrix);
  else parentElement.append(matrix);
  matrix.scrollTo(left, top);
  if (held) matrix.querySelector(`[data-key="${held}"]`)?.focus();
}
