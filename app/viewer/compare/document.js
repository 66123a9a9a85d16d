// Elements of the page: buttons, sliders, and what a person can do with them.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  minus: "M5 12h14",
  plus: "M5 12h14M12 5v14",
  fit: "M4 9V5.5A1.5 1.5 0 0 1 5.5 4H9M15 4h3.5A1.5 1.5 0 0 1 20 5.5V9M20 15v3.5a1.5 1.5 0 0 1-1.5 1.5H15M9 20H5.5A1.5 1.5 0 0 1 4 18.5V15",
  grid: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  focus: "M4 4h16v10H4zM4 17h4v3H4zM10 17h4v3h-4zM16 17h4v3h-4z",
  blink: "M4 6h11v9H4zM9 15v3h11V9h-5",
  pause: "M9 6v12M15 6v12",
  play: "M8 5.5v13l10.5-6.5z",
  rail: "M4 5h16v14H4zM14.5 5v14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  link: "M10 13.5a4 4 0 0 0 6 .4l2.600-2.600a4 4 0 0 0-5.700-5.700l-1.300 1.300M14 10.500a4 4 0 0 0-6-.4l-2.600 2.600a4 4 0 0 0 5.700 5.700l1.300-1.300",
  swipe: "M12 3v18M8.5 8.5 5 12l3.5 3.5M15.5 8.5 19 12l-3.5 3.5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12zM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6z",
  palette:
    "M12 3.5a8.5 8.5 0 1 0 0 17c1.5 0 2-1 1.6-2.2-.5-1.5.4-2.800 2-2.8h2.1c1.7 0 2.8-1.3 2.8-3 0-5-3.8-9-8.5-9zM7.5 12.5h.01M9.5 8h.01M14.5 8h.01",
  screen: "M14 4h6v6M20 4l-6.5 6.5M10 20H4v-6M4 20l6.5-6.5",
  help: "M9.2 9.3a2.9 2.9 0 1 1 4 2.7c-.8.4-1.2 1-1.2 1.9v.3M12 17.5h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  download: "M12 4v11M7.5 11 12 15.5 16.5 11M5 20h14",
  close: "M6 6l12 12M18 6 6 18",
};

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function iconButton(icon, title, onclick) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[icon]);
  drawing.append(path);
  return node(
    "button",
    { type: "button", class: "icon", title, "aria-label": title, ...(onclick && { onclick }) },
    drawing,
  );
}

function textButton(text, title, onclick) {
  return node("button", { type: "button", class: "text", title, onclick }, text);
}

function dot(colour) {
  return node("span", { class: "dot", style: `background:${colour}` });
}

function slider(label, value, oninput, title = label) {
  const input = node("input", {
    type: "range",
    min: "0",
    max: "1",
    step: "0.01",
    value: String(value),
    "aria-label": label,
    oninput: () => oninput(Number(input.value)),
  });
  const output = node("output", {});
  const root = node("label", { class: "slider", title }, node("span", {}, label), input, output);
  return {
    root,
    show(now, text) {
      input.value = String(now);
      input.style.setProperty("--filled", `${100 * now}%`);
      output.textContent = text;
    },
  };
}

/** Call back with true while a button is pressed, by pointer or key, and with false after. */
function hold(button, change) {
  button.addEventListener("pointerdown", () => change(true));
  for (const type of ["pointerup", "pointerleave", "pointercancel", "blur", "keyup"])
    button.addEventListener(type, () => change(false));
  button.addEventListener("keydown", (event) => (event.key === "Enter" || event.key === " ") && change(true));
}

function isEditable(event) {
  const target = event.composedPath()[0];
  return (
    target.isContentEditable ||
    target.matches?.("textarea, select, input:not([type=range])") ||
    (target.matches?.("input") && event.key.startsWith("Arrow"))
  );
}
