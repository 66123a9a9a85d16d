// How large the panes are: as large as they can be while all of them stay on the screen, but on a wide one never tiny.

const NARROW = 560; // CSS pixels of the viewer below which it is laid out for a phone
const WIDE = 960; // and from which there is room for a rail
const CAPTION = 30; // height of a caption, as in viewer.css
const WIDE_PANE = 300; // width that a pane's picture has at least where there is room for a rail
const RAIL = 264; // width of the readings, as in viewer.css

/** Fit panes and rail to the viewer's size, and draw. */
function layOut(viewer) {
  const { root, bundle, panes, settings } = viewer;
  if (!bundle) return;
  const { grid } = panes;
  const width = root.clientWidth;
  const narrow = width < NARROW;
  const before = root.dataset.mode;
  root.classList.toggle("wide", width >= WIDE);
  root.classList.toggle("railed", settings.rail);
  root.classList.toggle("narrow", narrow);
  root.classList.toggle("full", viewer.isFullScreen());
  root.dataset.mode = viewer.mode();
  if (before && before !== root.dataset.mode) return panes.build(); // the screen was turned
  const gap = narrow ? 6 : 10;
  root.style.removeProperty("--rail");
  const found = root.dataset.mode === "focus" ? measureFocus(viewer, gap) : measureGrid(viewer, gap);
  const picture = Math.floor(found.tall * (bundle.width / bundle.height));
  grid.style.setProperty("--columns", found.columns);
  grid.style.setProperty("--gap", `${gap}px`);
  grid.style.setProperty("--picture", `${picture}px`);
  grid.style.setProperty("--tall", `${Math.floor(found.tall)}px`);
  grid.style.setProperty("--thumb", `${Math.floor(found.thumb ?? 0)}px`);
  grid.style.setProperty("--short", `${Math.floor(found.short ?? 0)}px`);
  // What upright photos leave of the width goes to the rail.
  const used = found.columns * Math.floor(found.tall * (bundle.width / bundle.height) + gap) - gap;
  const left = root.dataset.mode === "grid" ? grid.clientWidth - used : 0;
  if (left > 24) root.style.setProperty("--rail", `${RAIL + Math.min(left, RAIL)}px`);
  const density = Math.min(3, window.devicePixelRatio || 1);
  for (const { frame, canvas } of panes.list) {
    const [w, h] = [frame.clientWidth, frame.clientHeight].map((side) => Math.max(1, Math.round(side * density)));
    if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  }
  viewer.draw();
}

/** Height in CSS pixels from the top of the panes to the lower edge of the screen, were the page not scrolled. */
function heightLeft(viewer) {
  const { root } = viewer;
  const { grid } = viewer.panes;
  let top = grid.getBoundingClientRect().top;
  if (viewer.isFullScreen()) return root.clientHeight - (top + root.scrollTop) - 24;
  for (let at = grid; at; at = at.parentElement ?? at.getRootNode().host) top += at.scrollTop;
  return Math.max(380, window.innerHeight - top - 16);
}

function measureGrid(viewer, gap) {
  const { root, bundle } = viewer;
  const { grid } = viewer.panes;
  const count = Math.max(1, grid.childElementCount);
  const [room, height, ratio] = [grid.clientWidth, heightLeft(viewer), bundle.height / bundle.width];
  const least = Math.min(root.classList.contains("wide") ? WIDE_PANE : 0, room);
  // A phone shows three and more in pairs, small but next to each other; there is the zoom.
  const [fewest, most] = root.classList.contains("narrow") ? [count > 2 ? 2 : 1, 2] : [1, 6];
  let best = { area: -1 };
  for (let columns = fewest; columns <= Math.min(count, most); columns++) {
    const rows = Math.ceil(count / columns);
    const cell = (room - gap * (columns - 1)) / columns;
    if (cell < least && columns > fewest) break;
    const fitting = (height - rows * (CAPTION + gap)) / rows;
    const tall = Math.min(cell * ratio, Math.max(fitting, least * ratio, 40));
    const area = (tall * tall) / ratio;
    // Of nearly equal sizes the one with more columns wins: less empty ground, and everything is nearer.
    if (area > best.area * 0.85) best = { area: Math.max(area, best.area), columns, tall, cell, fitting };
  }
  // Upright photos: if the page must be scrolled anyway, the panes take the whole width.
  return best.tall > best.fitting ? { ...best, tall: best.cell * ratio } : best;
}

function measureFocus(viewer, gap) {
  const { root, bundle } = viewer;
  const { grid } = viewer.panes;
  const [room, ratio] = [grid.clientWidth, bundle.height / bundle.width];
  const others = Math.max(1, grid.childElementCount - 1);
  const columns = Math.min(others, root.classList.contains("narrow") ? 3 : 12); // of the small ones in a row
  const thumb = Math.min((room - gap * (columns - 1)) / columns, 190);
  const short = thumb * ratio;
  const tall = Math.min(room * ratio, heightLeft(viewer) - short - 2 * CAPTION - 2 * gap);
  return { columns: 1, tall: Math.max(tall, 160), thumb, short };
}
