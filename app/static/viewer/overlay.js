// What lies over the planes of one scan: the crosshair, and the grid of cells. A cell lies where its place in the
// embedded picture was: a square that spans the longest side of the scan, about the scan's middle, which is 0 mm here.
"use strict";

// NiiVue's number of a plane is the place of its picture in the embedding: axial, coronal, sagittal.
const ACROSS = [0, 0, 1]; // the axis (R, A, S) that runs along a row of the picture, from plus to minus
const DOWN = [1, 2, 2]; // and the one that runs down its columns, likewise

const ENDS = [["L", "R"], ["P", "A"], ["I", "S"]]; // letters at the minus and the plus end of each axis

function cellPicture(colours, rows, columns, plane) {
  const picture = new OffscreenCanvas(columns, rows);
  const size = rows * columns * 4;
  const pixels = new Uint8ClampedArray(colours.slice(plane * size, (plane + 1) * size));
  picture.getContext("2d").putImageData(new ImageData(pixels, columns, rows), 0, 0);
  return picture;
}

// Pixels of a tile's corner at `mm` along its two axes.
function onTile(tile, across, down) {
  const [left, top, width, height] = tile.leftTopWidthHeight;
  return [
    left + ((across - tile.leftTopMM[0]) / tile.fovMM[0]) * width,
    top + height - ((down - tile.leftTopMM[1]) / tile.fovMM[1]) * height,
  ];
}

function onTiles(canvas, tiles, draw) {
  const context = canvas.getContext("2d");
  for (const tile of tiles) {
    if (tile.axCorSag > 2) continue;
    context.save();
    context.beginPath();
    context.rect(...tile.leftTopWidthHeight);
    context.clip();
    draw(context, tile);
    context.restore();
  }
}

function drawCells(canvas, tiles, pictures, span, opacity) {
  onTiles(canvas, tiles, (context, tile) => {
    const [fromX, fromY] = onTile(tile, span / 2, span / 2);
    const [toX, toY] = onTile(tile, -span / 2, -span / 2);
    context.imageSmoothingEnabled = false;
    context.globalAlpha = opacity;
    context.translate(fromX, fromY);
    context.scale(Math.sign(toX - fromX), Math.sign(toY - fromY));
    context.drawImage(pictures[tile.axCorSag], 0, 0, Math.abs(toX - fromX), Math.abs(toY - fromY));
  });
}

// NiiVue's own lines are as thick as voxels, or vanish between two pixels.
function drawCrosshair(canvas, tiles, mm) {
  onTiles(canvas, tiles, (context, tile) => {
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const [x, y] = onTile(tile, mm[ACROSS[tile.axCorSag]], mm[DOWN[tile.axCorSag]]).map((place) => Math.round(place) + 0.5);
    const gap = Math.max(6, Math.min(width, height) / 25);
    const edge = 20 * window.devicePixelRatio; // where the letters stand
    context.strokeStyle = "rgba(255, 184, 0, 0.9)";
    context.lineWidth = Math.max(1, Math.round(window.devicePixelRatio));
    context.beginPath();
    for (const [fromX, fromY, toX, toY] of [
      [Math.min(left + edge, x - gap), y, x - gap, y],
      [x + gap, y, Math.max(left + width - edge, x + gap), y],
      [x, Math.min(top + edge, y - gap), x, y - gap],
      [x, y + gap, x, Math.max(top + height - edge, y + gap)],
    ]) {
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
    }
    context.stroke();
  });
}

// What the four edges of a tile point to: left, right, top, bottom.
function lettersOf(tile) {
  const across = ENDS[ACROSS[tile.axCorSag]];
  const down = ENDS[DOWN[tile.axCorSag]];
  return [...(tile.fovMM[0] < 0 ? [across[1], across[0]] : across), ...(tile.fovMM[1] < 0 ? down : [down[1], down[0]])];
}

// Light letters with a dark rim: seen on bone as on air.
function drawLetters(canvas, tiles) {
  const size = 14 * window.devicePixelRatio;
  onTiles(canvas, tiles, (context, tile) => {
    const [left, top, width, height] = tile.leftTopWidthHeight;
    const [x, y, inside] = [left + width / 2, top + height / 2, 0.6 * size];
    const places = [[left + inside, y], [left + width - inside, y], [x, top + inside], [x, top + height - inside]];
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = size / 4;
    context.lineJoin = "round";
    context.strokeStyle = "rgba(0, 0, 0, 0.85)";
    context.fillStyle = "#f2f2f2";
    lettersOf(tile).forEach((letter, edge) => {
      context.strokeText(letter, ...places[edge]);
      context.fillText(letter, ...places[edge]);
    });
  });
}

// The cell of a plane at a position, or null beside the grid.
function cellAt(mm, plane, rows, columns, span) {
  const column = Math.floor((0.5 - mm[ACROSS[plane]] / span) * columns);
  const row = Math.floor((0.5 - mm[DOWN[plane]] / span) * rows);
  return row >= 0 && row < rows && column >= 0 && column < columns ? (plane * rows + row) * columns + column : null;
}
