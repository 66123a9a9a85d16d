/** Shows `data.html`, a drawing of ours: Streamlit takes SVG out of the HTML that it shows itself. */
export default function ({ data, parentElement }) {
  let place = parentElement.querySelector(".drawing");
  if (!place) {
    place = document.createElement("div");
    place.className = "drawing";
    parentElement.append(place);
  }
  place.innerHTML = data.html;
}
