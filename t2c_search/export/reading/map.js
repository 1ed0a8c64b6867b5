
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const x = new Uint16Array(bytes(data.x)), y = new Uint16Array(bytes(data.y));
  const cluster = new Uint8Array(bytes(data.cluster)), folder = new Uint32Array(bytes(data.folder));
  const count = x.length, STEPS = 65536, MOST_LINES = 5000;
  const path = (i) => data.folders[folder[i]] + data.names[i];
  const HARMFUL = /[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Surrogate}/gu;
  const harmless = (text) => text.replace(HARMFUL, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

  // Points by cluster, to be drawn in one colour after the other, and by square, to be found by place.
  const sorted = (keys, number) => {
    const starts = new Uint32Array(number + 1), order = new Uint32Array(count);
    for (let i = 0; i < count; i++) starts[keys(i) + 1]++;
    for (let k = 0; k < number; k++) starts[k + 1] += starts[k];
    const next = starts.slice();
    for (let i = 0; i < count; i++) order[next[keys(i)]++] = i;
    return { starts, order };
  };
  const SIDE = 128, square = (v) => Math.min(SIDE - 1, (v * SIDE / STEPS) | 0);
  const byCluster = sorted((i) => cluster[i], data.clusters.length);
  const bySquare = sorted((i) => square(y[i]) * SIDE + square(x[i]), SIDE * SIDE);

  const canvas = $("map"), pen = canvas.getContext("2d");
  const view = { x: STEPS / 2, y: STEPS / 2, scale: 1 };  // what lies in the middle, and pixels a step
  let width = 1, height = 1, least = 1;
  let hovered = -1, shownCluster = -1, chosen = null, loop = null, choosing = false, pictures = false;
  const isChosen = new Uint8Array(count);
  const toX = (v) => (v - view.x) * view.scale + width / 2, toY = (v) => (v - view.y) * view.scale + height / 2;
  const fromX = (p) => (p - width / 2) / view.scale + view.x, fromY = (p) => (p - height / 2) / view.scale + view.y;

  // Thumbnails, decoded when they are first shown.
  const images = new Map();
  const thumbnail = (i) => {
    if (!(i in data.thumbnails)) return null;
    if (!images.has(i)) {
      const image = new Image();
      image.onload = draw;
      image.src = "data:image/jpeg;base64," + data.thumbnails[i];
      images.set(i, image);
    }
    return images.get(i);
  };

  // Where each cluster's name stands: at its point that lies nearest to the middle of its points.
  const anchors = data.clusters.map((_, k) => {
    const own = byCluster.order.subarray(byCluster.starts[k], byCluster.starts[k + 1]);
    if (!own.length) return null;
    const middle = (values) => Float64Array.from(own, (i) => values[i]).sort()[own.length >> 1];
    const mx = middle(x), my = middle(y);
    let best = own[0];
    for (const i of own) if (Math.hypot(x[i] - mx, y[i] - my) < Math.hypot(x[best] - mx, y[best] - my)) best = i;
    return best;
  });

  let waiting = false;
  function draw() {
    if (!waiting) requestAnimationFrame(() => { waiting = false; paint(); });
    waiting = true;
  }
  function paint() {
    const colours = getComputedStyle(document.documentElement);
    const [ink, paper, accent] = ["--ink", "--paper", "--accent"].map((name) => colours.getPropertyValue(name));
    const ratio = window.devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const base = count < 3000 ? 3.6 : count < 30000 ? 2.2 : 1.3;
    const radius = Math.min(7, base * Math.sqrt(Math.max(1, view.scale / least)) ** 0.8);
    for (let k = 0; k < data.clusters.length; k++) points(k, radius);  // the smallest last, on top
    pen.globalAlpha = 1;
    if (pictures) collage();
    if (hovered >= 0) {
      pen.beginPath();
      pen.arc(toX(x[hovered]), toY(y[hovered]), radius + 3, 0, 7);
      pen.lineWidth = 2;
      pen.strokeStyle = ink;
      pen.stroke();
    }
    names(ink, paper);
    if (loop) {
      pen.beginPath();
      for (const [px, py] of loop) pen.lineTo(toX(px), toY(py));
      pen.closePath();
      pen.globalAlpha = 0.12;
      pen.fillStyle = pen.strokeStyle = accent;
      pen.fill();
      pen.globalAlpha = 1;
      pen.lineWidth = 1.5;
      pen.stroke();
    }
  }
  function points(k, radius) {
    pen.fillStyle = data.clusters[k].colour;
    const [low, high, left, right] = [fromY(-9), fromY(height + 9), fromX(-9), fromX(width + 9)];
    const round = radius > 1.6 && count < 60000;
    for (const strong of [false, true]) {
      pen.globalAlpha = strong ? 0.85 : 0.1;
      pen.beginPath();
      for (let at = byCluster.starts[k]; at < byCluster.starts[k + 1]; at++) {
        const i = byCluster.order[at];
        const lit = chosen ? isChosen[i] === 1 : shownCluster < 0 || shownCluster === k;
        if (lit !== strong || y[i] < low || y[i] > high || x[i] < left || x[i] > right) continue;
        const px = toX(x[i]), py = toY(y[i]);
        if (round) {
          pen.moveTo(px + radius, py);
          pen.arc(px, py, radius, 0, 7);
        } else pen.rect(px - radius, py - radius, 2 * radius, 2 * radius);
      }
      pen.fill();
    }
  }
  // Pictures where there is room for them; which ones depends on the scale alone, so that they stay when the map is moved.
  function collage() {
    const room = 68 / view.scale, taken = new Map();
    const cell = (row, column) => row * 1e5 + column;
    for (const key in data.thumbnails) {
      const i = +key, row = Math.floor(y[i] / room), column = Math.floor(x[i] / room);
      if (!(chosen ? isChosen[i] : shownCluster < 0 || shownCluster === cluster[i])) continue;
      let free = true;
      for (let r = row - 1; r <= row + 1; r++)
        for (let c = column - 1; c <= column + 1; c++) {
          const other = taken.get(cell(r, c));
          if (other !== undefined && Math.abs(x[i] - x[other]) < room && Math.abs(y[i] - y[other]) < room) free = false;
        }
      if (!free) continue;
      taken.set(cell(row, column), i);
      const px = toX(x[i]), py = toY(y[i]);
      if (px < -40 || py < -40 || px > width + 40 || py > height + 40) continue;
      const image = thumbnail(i);
      if (!image.complete || !image.naturalWidth) continue;
      const size = 60 / Math.max(image.naturalWidth, image.naturalHeight);
      const w = image.naturalWidth * size, h = image.naturalHeight * size;
      pen.fillStyle = data.clusters[cluster[i]].colour;
      pen.fillRect(px - w / 2 - 2, py - h / 2 - 2, w + 4, h + 4);
      pen.drawImage(image, px - w / 2, py - h / 2, w, h);
    }
  }
  function names(ink, paper) {
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const boxes = [];
    data.clusters.forEach((each, k) => {
      if (anchors[k] === null || (shownCluster >= 0 && shownCluster !== k)) return;
      let text = harmless(each.name);
      if (text.length > 32) text = text.slice(0, 31) + "…";
      const px = toX(x[anchors[k]]), py = toY(y[anchors[k]]), half = pen.measureText(text).width / 2 + 4;
      if (boxes.some((box) => Math.abs(box[0] - px) < box[2] + half && Math.abs(box[1] - py) < 18)) return;
      boxes.push([px, py, half]);
      pen.globalAlpha = 0.85;
      pen.lineWidth = 4;
      pen.strokeStyle = paper;
      pen.strokeText(text, px, py);
      pen.globalAlpha = 1;
      pen.fillStyle = ink;
      pen.fillText(text, px, py);
    });
  }

  function whole() {
    view.x = view.y = STEPS / 2;
    view.scale = least = Math.min(width, height) * 0.88 / STEPS;
    draw();
  }
  function zoom(factor, px = width / 2, py = height / 2) {
    const [dx, dy] = [fromX(px), fromY(py)];
    view.scale = Math.min(Math.max(view.scale * factor, least / 2), 4);
    view.x = dx - (px - width / 2) / view.scale;
    view.y = dy - (py - height / 2) / view.scale;
    draw();
  }
  function nearest(px, py, reach = 12) {
    const cx = fromX(px), cy = fromY(py), far = reach / view.scale;
    let best = -1, distance = far;
    const rows = [square(Math.max(0, cy - far)), square(Math.max(0, cy + far))];
    const columns = [square(Math.max(0, cx - far)), square(Math.max(0, cx + far))];
    for (let row = rows[0]; row <= rows[1]; row++)
      for (let at = bySquare.starts[row * SIDE + columns[0]]; at < bySquare.starts[row * SIDE + columns[1] + 1]; at++) {
        const i = bySquare.order[at], d = Math.hypot(x[i] - cx, y[i] - cy);
        if (d < distance) [best, distance] = [i, d];
      }
    return best;
  }
  // Which points lie inside a loop, by the even-odd rule.
  function inside(polygon) {
    const found = [];
    for (let i = 0; i < count; i++) {
      let within = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
        const [ax, ay] = polygon[a], [bx, by] = polygon[b];
        if (ay > y[i] !== by > y[i] && x[i] < (bx - ax) * (y[i] - ay) / (by - ay) + ax) within = !within;
      }
      if (within) found.push(i);
    }
    return found;
  }

  const quoted = (text) => '"' + text.replace(/[\\"]/g, "\\$&") + '"';
  function written(list, whole) {
    if (whole !== undefined && data.field) return [data.field + " = " + quoted(data.clusters[whole].name), ""];
    const text = list.length === 1 ? "path = " + quoted(path(list[0])) : "path IN (" + list.map((i) => quoted(path(i))).join(", ") + ")";
    if (list.length > data.limits.values || text.length > data.limits.characters)
      return ["", "Too many for one expression; use the paths, or write the clusters to a field with t2c map --write NAME."];
    if (/\p{Surrogate}/u.test(text)) return ["", "A name among these is not text, and cannot stand in an expression."];
    return [text, ""];
  }
  function choose(list, whole) {
    for (const i of chosen || []) isChosen[i] = 0;
    chosen = list && list.length ? list : null;
    for (const i of chosen || []) isChosen[i] = 1;
    $("choice").hidden = !chosen;
    legend.forEach((button, k) => button.setAttribute("aria-pressed", String(k === whole)));
    draw();
    if (!chosen) return;
    $("choice-title").textContent = chosen.length === 1 ? "1 image chosen" : chosen.length.toLocaleString("en") + " images chosen";
    const sizes = new Map();
    for (const i of chosen) sizes.set(cluster[i], (sizes.get(cluster[i]) || 0) + 1);
    const largest = [...sizes].sort((a, b) => b[1] - a[1]);
    const told = largest.slice(0, 4).map(([k, n]) => harmless(data.clusters[k].name) + " " + n.toLocaleString("en"));
    $("choice-clusters").textContent = told.join(" · ") + (largest.length > 4 ? " · …" : "");
    const shown = chosen.filter((i) => i in data.thumbnails).slice(0, 100);
    $("choice-images").replaceChildren(...shown.map((i) => {
      const image = document.createElement("img");
      image.src = thumbnail(i).src;
      image.title = image.alt = harmless(path(i));
      return image;
    }));
    const [expression, note] = written(chosen, whole);
    $("expression").value = expression;
    $("expression-note").textContent = note;
    $("copy-expression").disabled = !expression;
    const more = chosen.length - MOST_LINES;
    $("list").value = chosen.slice(0, MOST_LINES).map(path).join("\n") + (more > 0 ? `\n… and ${more} more: copy or save them` : "");
  }
  const listed = () => chosen.map(path).join("\n") + "\n";
  async function copy(button, text, from) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // a browser that gives no access; what is shown can be copied all the same
      from.select();
      document.execCommand("copy");
    }
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 1200);
  }
  $("copy-expression").onclick = (event) => copy(event.target, $("expression").value, $("expression"));
  $("copy-list").onclick = (event) => copy(event.target, listed(), $("list"));
  $("save-list").onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([listed()], { type: "text/plain" }));
    link.download = "images.txt";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const clear = () => { loop = null; choose(null); };
  $("clear").onclick = clear;

  const legend = data.clusters.map((each, k) => {
    const button = document.createElement("button"), dot = document.createElement("i");
    const name = document.createElement("b"), size = document.createElement("span"), more = document.createElement("small");
    button.type = "button";
    button.title = "Choose these images";
    dot.style.background = each.colour;
    name.textContent = harmless(each.name);
    size.textContent = each.size.toLocaleString("en");
    more.textContent = each.traits.filter(([word]) => word !== each.name).map(([word, g]) => harmless(word) + " " + g.toFixed(1)).join(", ");
    more.title = "Words that set it apart, with Hedges' g against all other images";
    button.append(dot, name, size, more);
    button.onpointerenter = button.onfocus = () => { shownCluster = k; draw(); };
    button.onpointerleave = button.onblur = () => { shownCluster = -1; draw(); };
    button.onclick = () => {
      loop = null;
      const again = button.getAttribute("aria-pressed") === "true";
      choose(again ? null : [...byCluster.order.subarray(byCluster.starts[k], byCluster.starts[k + 1])], again ? undefined : k);
    };
    const item = document.createElement("li");
    item.append(button);
    $("legend").append(item);
    return button;
  });

  function hover(px, py) {
    const found = nearest(px, py);
    if (found !== hovered) {
      hovered = found;
      draw();
    }
    const tip = $("tip");
    tip.hidden = found < 0;
    if (found < 0) return;
    const image = thumbnail(found);
    $("tip-image").hidden = !image;
    if (image) $("tip-image").src = image.src;
    $("tip-cluster").textContent = harmless(data.clusters[cluster[found]].name);
    $("tip-name").textContent = harmless(data.names[found]) + (image ? "" : " (no thumbnail in this page)");
    const left = px + 16 + tip.offsetWidth > width ? px - 16 - tip.offsetWidth : px + 16;
    const top = Math.min(Math.max(8, py - tip.offsetHeight / 2), height - tip.offsetHeight - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px, ${Math.max(8, top)}px)`;
  }
  const leave = () => { hovered = -1; $("tip").hidden = true; draw(); };

  let grip = null;
  canvas.onpointerdown = (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    const { offsetX: px, offsetY: py } = event;
    grip = { px, py, x: view.x, y: view.y, moved: false, drawing: choosing || event.shiftKey };
    if (grip.drawing) {
      leave();
      loop = [[fromX(px), fromY(py)]];
    }
  };
  canvas.onpointermove = (event) => {
    const { offsetX: px, offsetY: py } = event;
    if (!grip) return hover(px, py);
    grip.moved ||= Math.hypot(px - grip.px, py - grip.py) > 3;
    if (grip.drawing) loop.push([fromX(px), fromY(py)]);
    else if (grip.moved) {
      canvas.classList.add("moving");
      $("tip").hidden = true;
      view.x = grip.x - (px - grip.px) / view.scale;
      view.y = grip.y - (py - grip.py) / view.scale;
    }
    draw();
  };
  canvas.onpointerup = (event) => {
    if (!grip) return;
    const { drawing, moved } = grip;
    grip = null;
    canvas.classList.remove("moving");
    if (drawing && moved) {
      const found = inside(loop);
      if (!found.length) loop = null;
      choose(found);
    } else if (!moved) {
      loop = null;
      const found = nearest(event.offsetX, event.offsetY);
      choose(found < 0 ? null : [found]);
    }
  };
  canvas.onpointercancel = () => { grip = null; loop = null; draw(); };
  canvas.onpointerleave = leave;
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(2 ** (-event.deltaY * (event.deltaMode ? 20 : 1) / 300), event.offsetX, event.offsetY);
  }, { passive: false });

  function mode(drawing) {
    choosing = drawing;
    canvas.classList.toggle("choosing", drawing);
    $("lasso").setAttribute("aria-pressed", String(drawing));
    $("pan").setAttribute("aria-pressed", String(!drawing));
  }
  function show() {
    pictures = !pictures;
    $("pictures").setAttribute("aria-pressed", String(pictures));
    draw();
  }
  $("pan").onclick = () => mode(false);
  $("lasso").onclick = () => mode(true);
  $("pictures").onclick = show;
  $("pictures").hidden = !Object.keys(data.thumbnails).length;
  $("closer").onclick = () => zoom(1.6);
  $("farther").onclick = () => zoom(1 / 1.6);
  $("whole").onclick = whole;
  const keys = { m: () => mode(false), l: () => mode(true), p: show, "+": () => zoom(1.6), "-": () => zoom(1 / 1.6), 0: whole,
    Escape: clear };
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "TEXTAREA" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in keys) keys[event.key]();
  });

  let fitted = false;
  new ResizeObserver(() => {
    const ratio = window.devicePixelRatio || 1;
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    least = Math.min(width, height) * 0.88 / STEPS;
    if (!fitted) whole();
    fitted = true;
    draw();
  }).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
