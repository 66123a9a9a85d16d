/** Pictures to be opened. `data` is {label, items: [{key, image, title, said}]}; calls the trigger `choice` with a key. */

export default function ({ data, parentElement, setTriggerValue }) {
  let cards = parentElement.querySelector(".cards");
  if (!cards) {
    cards = document.createElement("div");
    cards.className = "cards";
    cards.setAttribute("role", "group");
    parentElement.append(cards);
  }
  cards.setAttribute("aria-label", data.label);
  cards.replaceChildren(
    ...data.items.map((item) => {
      const button = document.createElement("button");
      const [image, title, said] = ["img", "b", "small"].map((kind) => document.createElement(kind));
      button.type = "button";
      image.alt = "";
      image.loading = "lazy";
      image.src = `data:image/jpeg;base64,${item.image}`;
      title.textContent = item.title;
      said.textContent = item.said;
      button.title = `Open ${item.title} in Compare`;
      button.append(image, title, said);
      button.onclick = () => setTriggerValue("choice", item.key);
      return button;
    }),
  );
}
