/** A row of small pictures of which one is chosen. `data` is {label, items: [{key, label, image}], chosen}. */

export default function ({ data, parentElement, setTriggerValue }) {
  let row = parentElement.querySelector(".strip");
  if (!row) {
    row = document.createElement("div");
    row.className = "strip";
    row.setAttribute("role", "group");
    parentElement.append(row);
  }
  row.setAttribute("aria-label", data.label);
  const before = [...row.children];
  data.items.forEach((item, i) => {
    const button = before[i] ?? row.appendChild(make());
    button.lastChild.textContent = item.label;
    const source = `data:image/jpeg;base64,${item.image}`;
    if (button.firstChild.src !== source) button.firstChild.src = source;
    button.setAttribute("aria-pressed", String(item.key === data.chosen));
    button.onclick = () => {
      // Shown at once; the server's answer follows.
      [...row.children].forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      setTriggerValue("choice", item.key);
    };
  });
  before.slice(data.items.length).forEach((button) => button.remove());
  const chosen = row.querySelector('[aria-pressed="true"]');
  if (
    chosen &&
    (chosen.offsetLeft < row.scrollLeft || chosen.offsetLeft + chosen.offsetWidth > row.scrollLeft + row.clientWidth)
  ) {
    row.scrollLeft = chosen.offsetLeft - row.clientWidth / 2 + chosen.offsetWidth / 2;
  }
}

function make() {
  const button = document.createElement("button");
  const image = document.createElement("img");
  button.type = "button";
  image.alt = "";
  button.append(image, document.createElement("span"));
  return button;
}
