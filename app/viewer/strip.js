/**
 * A row of small pictures of which one is chosen. `data` is {label, items: [{key, label, image, removable}], chosen}.
 *
 * Events: `choice` of a picture that was clicked, `removal` of one whose cross was.
 */

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
    const [button, cross] = (before[i] ?? row.appendChild(make())).children;
    button.lastChild.textContent = item.label;
    const source = `data:image/jpeg;base64,${item.image}`;
    if (button.firstChild.src !== source) button.firstChild.src = source;
    button.setAttribute("aria-pressed", String(item.key === data.chosen));
    button.onclick = () => {
      // Shown at once; the server's answer follows.
      [...row.children].forEach(({ firstChild }) =>
        firstChild.setAttribute("aria-pressed", String(firstChild === button)),
      );
      setTriggerValue("choice", item.key);
    };
    cross.hidden = !item.removable;
    cross.setAttribute("aria-label", `Remove ${item.label}`);
    cross.title = `Remove ${item.label}`;
    cross.onclick = () => setTriggerValue("removal", item.key);
  });
  before.slice(data.items.length).forEach((place) => place.remove());
  const chosen = row.querySelector('[aria-pressed="true"]')?.parentElement;
  if (
    chosen &&
    (chosen.offsetLeft < row.scrollLeft || chosen.offsetLeft + chosen.offsetWidth > row.scrollLeft + row.clientWidth)
  ) {
    row.scrollLeft = chosen.offsetLeft - row.clientWidth / 2 + chosen.offsetWidth / 2;
  }
}

/** The place of a picture: the button with it, and the cross in its corner. */
function make() {
  const [place, image] = [document.createElement("div"), document.createElement("img")];
  const [button, cross] = [document.createElement("button"), document.createElement("button")];
  button.type = cross.type = "button";
  image.alt = "";
  cross.className = "cross";
  cross.textContent = "×";
  button.append(image, document.createElement("span"));
  place.append(button, cross);
  return place;
}
