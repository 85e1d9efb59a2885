// One or two scans in three planes each, by NiiVue; a cell's share of their score over them.
"use strict";

const DRAG = { crosshair: 8, windowing: 9, pan: 3 };
const TALLEST = 640;
const KEYS = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
};
const PLANES = ["axial", "coronal", "sagittal"];

const element = (id) => document.getElementById(id);
const panels = [];
let shown = null; // which scans these are
let why = null; // the overlay
let busy = false;

function add(parent, tag, look = {}) {
  const made = Object.assign(document.createElement(tag), look);
  parent.append(made);
  return made;
}

async function makePanel(scan, content) {
  const box = add(element("panels"), "section", { className: "panel" });
  const head = add(box, "header");
  add(head, "b", { textContent: scan.title });
  const presets = add(head, "select");
  presets.setAttribute("aria-label", `Window of ${scan.title}`);
  scan.windows.forEach(([name], number) => add(presets, "option", { value: number, textContent: name }));
  const own = add(presets, "option", { value: "", textContent: "as dragged", hidden: true });
  const stage = add(box, "div", { className: "stage" });
  const canvas = add(stage, "canvas", { className: "gl", tabIndex: 0 });
  canvas.setAttribute("aria-label", `${scan.title}: coronal, sagittal and axial planes`);
  canvas.setAttribute("role", "img");
  const over = add(stage, "canvas", { className: "over" });
  const foot = add(box, "footer");
  const place = add(foot, "span");
  const share = add(foot, "span", { className: "why" });
  add(foot, "span", { textContent: scan.spacing });

  const nv = new niivue.Niivue({
    dragAndDropEnabled: false, isColorbar: false, crosshairWidth: 0, isOrientationTextVisible: false, multiplanarPadPixels: 8,
    dragModePrimary: DRAG.crosshair, dragMode: DRAG.windowing, isRadiologicalConvention: true, sagittalNoseLeft: true,
    multiplanarShowRender: niivue.SHOW_RENDER.NEVER, multiplanarLayout: niivue.MULTIPLANAR_TYPE.AUTO,
    fontColor: [0.9, 0.9, 0.9, 1], logLevel: "silent", loadingText: "", viewModeHotKey: "", clipPlaneHotKey: "", cycleClipPlaneHotKey: "",
  });
  const panel = { scan, nv, canvas, over, place, share, presets, own };
  const draw = nv.drawScene.bind(nv);
  nv.drawScene = (...all) => {
    const said = draw(...all);
    if (nv.volumes.length) drawn(panel);
    return said;
  };
  await nv.attachToCanvas(canvas);
  const [, low, high] = scan.windows[0];
  nv.addVolume(await niivue.NVImage.new(content, "scan.nii", "gray", 1, null, low, high));
  nv.setSliceType(niivue.SLICE_TYPE.MULTIPLANAR);
  presets.onchange = () => choose(panel);
  canvas.addEventListener("keydown", (event) => {
    const step = KEYS[event.key];
    if (step) {
      nv.moveCrosshairInVox(...step);
      nv.drawScene();
      event.preventDefault();
    }
  });
  canvas.addEventListener("wheel", (event) => zoomWithWheel(panel, event), { capture: true, passive: false });
  return panel;
}

// NiiVue zooms where its own drag mode pans; that one is the right button's, which sets the window here.
function zoomWithWheel(panel, event) {
  if (element("drag").value !== "pan" && !event.ctrlKey) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const [x, y, z, zoom] = panel.nv.scene.pan2Dxyzmm;
  const next = Math.min(20, Math.max(0.2, zoom * (event.deltaY < 0 ? 1.1 : 1 / 1.1)));
  const mm = position(panel);
  const keep = [x, y, z].map((shift, axis) => shift + mm[axis] * (zoom - next));
  panel.nv.setPan2Dxyzmm([...keep, next]);
}

function position(panel) {
  return [...panel.nv.frac2mm(panel.nv.scene.crosshairPos)].slice(0, 3);
}

// NiiVue has drawn a scan: the other one follows, then the overlay and the words.
function drawn(panel) {
  if (!busy && element("linked").checked) {
    busy = true;
    for (const other of panels) if (other !== panel) follow(other, panel);
    busy = false;
  }
  describe(panel);
}

// Pixels of a millimetre where nothing is enlarged.
function scaleOf(panel) {
  const tile = panel.nv.screenSlices[0];
  return tile.leftTopWidthHeight[2] / Math.abs(tile.fovMM[0]) / panel.nv.scene.pan2Dxyzmm[3];
}

// The same place in mm, as far from the middle of the picture and as large as in the leading scan.
function follow(panel, leader) {
  const shift = [0, 1, 2].map((axis) => (element("origin").value === "scanner" ? leader.scan.middle[axis] - panel.scan.middle[axis] : 0));
  const mm = position(leader).map((value, axis) => value + shift[axis]);
  const ratio = scaleOf(leader) / scaleOf(panel);
  const [x, y, z, zoom] = leader.nv.scene.pan2Dxyzmm;
  panel.nv.scene.crosshairPos = panel.nv.mm2frac(mm);
  panel.nv.scene.pan2Dxyzmm = [...[x, y, z].map((pan, axis) => (pan - zoom * shift[axis]) * ratio), zoom * ratio];
  panel.nv.drawScene();
}

// Both scans at one scale, the larger one whole.
function reset() {
  const scales = panels.map(scaleOf);
  panels.forEach(({ nv, scan }, number) => {
    nv.scene.pan2Dxyzmm = [0, 0, 0, Math.min(...scales) / scales[number]];
    nv.scene.crosshairPos = nv.mm2frac([0, 0, 0]);
    setWindow(nv, scan.windows[0]);
  });
}

// NiiVue makes its textures anew for another window, which takes software seconds: not where it is the same.
function setWindow(nv, [, low, high]) {
  const image = nv.volumes[0];
  if (image.cal_min === low && image.cal_max === high) {
    nv.drawScene();
    return;
  }
  [image.cal_min, image.cal_max] = [low, high];
  nv.updateGLVolume();
}

function describe(panel) {
  const { nv, over } = panel;
  const mm = position(panel);
  const image = nv.volumes[0];
  const inside = nv.scene.crosshairPos.every((part) => part >= 0 && part <= 1);
  const value = inside ? number(image.getValue(...image.mm2vox(mm))) : "beyond this scan";
  const [r, a, s] = mm.map((part) => (part < -0.05 ? "\u2212" : "+") + Math.abs(part).toFixed(1));
  panel.place.textContent = `R ${r} A ${a} S ${s} mm: ${value} · window ${number(image.cal_min)} to ${number(image.cal_max)}`;
  const named = panel.scan.windows.findIndex(([, low, high]) => low === image.cal_min && high === image.cal_max);
  panel.presets.value = named < 0 ? "" : String(named);
  panel.own.hidden = named >= 0;
  panel.canvas.dataset.position = mm.map((part) => part.toFixed(3)).join(" ");
  panel.canvas.dataset.zoom = nv.scene.pan2Dxyzmm[3].toFixed(3);
  if (over.width !== nv.gl.canvas.width || over.height !== nv.gl.canvas.height) {
    [over.width, over.height] = [nv.gl.canvas.width, nv.gl.canvas.height];
  }
  over.getContext("2d").clearRect(0, 0, over.width, over.height);
  if (why) drawCells(over, nv.screenSlices, why.pictures, panel.scan.span, Number(element("opacity").value));
  drawCrosshair(over, nv.screenSlices, mm);
  drawLetters(over, nv.screenSlices);
  if (!why) return;
  const shares = PLANES.map((name, plane) => {
    const cell = cellAt(mm, plane, why.rows, why.columns, panel.scan.span);
    return cell === null ? null : `${name} ${why.values[cell].toFixed(4)}`;
  });
  panel.share.textContent = `share of the score here: ${shares.filter(Boolean).join(", ") || "none"}`;
}

function number(value) {
  return String(Number(value.toPrecision(4)));
}

// A preset of one scan is taken by the other where that has one of this name.
function choose(panel) {
  const [name] = panel.scan.windows[Number(panel.presets.value)];
  for (const one of panels) {
    const window = one === panel || element("linked").checked ? one.scan.windows.find(([own]) => own === name) : null;
    if (window) setWindow(one.nv, window);
  }
}

function redraw() {
  if (panels.length) panels[0].nv.drawScene();
  panels.forEach(describe);
}

function fit() {
  const width = element("panels").clientWidth;
  const wide = width >= 620;
  const tall = panels.length > 1 && wide ? (width - 13) / 2 : wide ? 0.38 * width : width; // alone, three in a row
  element("panels").style.setProperty("--stage", `${Math.min(tall, TALLEST)}px`);
  page.height(element("viewer").getBoundingClientRect().height + 4);
}

function takeOverlay(overlay) {
  document.body.classList.toggle("plain", !overlay);
  why = overlay && { ...overlay, pictures: PLANES.map((_, plane) => cellPicture(overlay.colours, overlay.rows, overlay.columns, plane)) };
  if (!overlay) return;
  element("least").textContent = (-overlay.limit).toFixed(4);
  element("most").textContent = `+${overlay.limit.toFixed(4)}`;
  const stops = overlay.bar.map(([stop, [r, g, b, a]]) => `rgba(${r},${g},${b},${a / 255}) ${100 * stop}%`);
  element("colours").style.backgroundImage = `linear-gradient(to right, ${stops.join(",")})`;
}

function takeTheme(theme) {
  if (!theme) return;
  const names = { "--back": "backgroundColor", "--text": "textColor", "--second": "secondaryBackgroundColor", "--primary": "primaryColor" };
  for (const [name, key] of Object.entries(names)) document.documentElement.style.setProperty(name, theme[key]);
  document.documentElement.style.colorScheme = theme.base === "dark" ? "dark" : "light";
}

async function render(args, theme) {
  takeTheme(theme);
  if (args.fingerprint === shown) return;
  shown = args.fingerprint;
  delete element("viewer").dataset.ready;
  panels.splice(0).forEach((panel) => panel.nv.gl.getExtension("WEBGL_lose_context")?.loseContext());
  element("panels").replaceChildren();
  element("viewer").hidden = false;
  document.body.classList.toggle("single", args.scans.length < 2);
  takeOverlay(args.overlay);
  try {
    const made = [];
    for (const [place, scan] of args.scans.entries()) {
      const bytes = args[`voxels${place}`];
      made.push(await makePanel(scan, bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)));
    }
    panels.push(...made);
  } catch (error) {
    page.answer({ webgl: false, reason: String(error).slice(0, 200) });
    return;
  }
  fit();
  panels.forEach((panel) => panel.nv.resizeListener());
  reset();
  element("viewer").dataset.ready = args.fingerprint;
}

element("drag").onchange = (event) => panels.forEach((panel) => { panel.nv.opts.dragModePrimary = DRAG[event.target.value]; });
element("radiological").onchange = (event) => panels.forEach(({ nv }) => nv.setRadiologicalConvention(event.target.checked));
element("linked").onchange = redraw;
element("origin").onchange = redraw;
element("opacity").oninput = () => panels.forEach(describe);
element("reset").onclick = reset;
// NiiVue's own keys would cycle modes that have no place here.
window.addEventListener("keyup", (event) => event.stopImmediatePropagation(), true);
new ResizeObserver(fit).observe(document.documentElement);

if (document.createElement("canvas").getContext("webgl2")) {
  page.ready((args, theme) => void render(args, theme));
} else {
  page.ready(() => {
    page.height(0);
    if (shown !== "") page.answer({ webgl: false, reason: "this browser gives no WebGL 2" });
    shown = "";
  });
}
