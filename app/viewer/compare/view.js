const MAX_ZOOM = 32;

/** Where all panes look: zoom and centre are kept once, in image coordinates, as part of the settings. */
class View {
  constructor(viewer) {
    this.viewer = viewer;
  }

  /** Scale and offset from image pixels to a pane's canvas pixels. */
  transform({ canvas }) {
    const { width, height } = this.viewer.bundle;
    const { zoom, centre } = this.viewer.settings;
    const scale = Math.min(canvas.width / width, canvas.height / height) * zoom;
    const [x, y] = [canvas.width / 2 - centre[0] * width * scale, canvas.height / 2 - centre[1] * height * scale];
    return { scale, x, y };
  }

  /** Left and right edge of the picture where it is visible, in a pane's canvas pixels. */
  span(pane) {
    const { scale, x } = this.transform(pane);
    return [Math.max(0, x), Math.min(pane.canvas.width, x + scale * this.viewer.bundle.width)];
  }

  /** Keep the picture in the panes: no wandering off, centred where it is smaller than its pane. */
  clamp(pane) {
    const { settings: s, bundle } = this.viewer;
    s.zoom = clamp(s.zoom, 1, MAX_ZOOM);
    const { scale } = this.transform(pane);
    const sides = [
      [pane.canvas.width, bundle.width],
      [pane.canvas.height, bundle.height],
    ];
    s.centre = s.centre.map((value, axis) => {
      const half = sides[axis][0] / (2 * scale * sides[axis][1]);
      return half >= 0.5 ? 0.5 : clamp(value, half, 1 - half);
    });
  }

  fit() {
    Object.assign(this.viewer.settings, { zoom: 1, centre: [0.5, 0.5] });
    this.viewer.draw();
  }

  /** Zoom by a factor around `at`, an image position in [0,1]²: by default the held pixel, or the centre. */
  zoomBy(factor, at = this.middle()) {
    const { settings: s } = this.viewer;
    const zoom = clamp(s.zoom * factor, 1, MAX_ZOOM);
    s.centre = s.centre.map((value, i) => at[i] + ((value - at[i]) * s.zoom) / zoom);
    s.zoom = zoom;
    this.viewer.draw();
  }

  middle() {
    const { pinned, settings, bundle } = this.viewer;
    return pinned ? [(pinned[0] + 0.5) / bundle.width, (pinned[1] + 0.5) / bundle.height] : settings.centre;
  }

  /** Image position in [0,1]² under a pointer event, unclamped. */
  position(pane, event) {
    const box = pane.frame.getBoundingClientRect();
    const density = pane.canvas.width / box.width;
    const { scale, x, y } = this.transform(pane);
    return [
      ((event.clientX - box.left) * density - x) / (scale * this.viewer.bundle.width),
      ((event.clientY - box.top) * density - y) / (scale * this.viewer.bundle.height),
    ];
  }

  /** The image pixel under a pointer event; null beside the picture. */
  pixel(pane, event) {
    const { width, height } = this.viewer.bundle;
    const [u, v] = this.position(pane, event);
    const [x, y] = [Math.floor(u * width), Math.floor(v * height)];
    return x >= 0 && y >= 0 && x < width && y < height ? [x, y] : null;
  }

  /** Move by CSS pixels of a pane. */
  pan(pane, dx, dy) {
    const { settings, bundle } = this.viewer;
    const { scale } = this.transform(pane);
    const density = pane.canvas.width / pane.frame.clientWidth;
    const [u, v] = settings.centre;
    settings.centre = [u - (dx * density) / (scale * bundle.width), v - (dy * density) / (scale * bundle.height)];
    this.viewer.draw();
  }
}
