// What the page does by itself: keys, pictures, uploads, and what is said when the connection is lost.
(() => {
  "use strict";

  // --- keys: a button with data-key is pressed by that key, unless something is being typed

  const isTyping = (target) =>
    target.isContentEditable || /^(SELECT|TEXTAREA)$/.test(target.tagName) ||
    (target.tagName === "INPUT" && !/^(checkbox|radio|range|button|file)$/.test(target.type));

  function keyOf(event) {
    if (event.altKey) return null;
    if (!event.ctrlKey && !event.metaKey) return event.key.length === 1 ? event.key.toLowerCase() : null;
    const key = event.key.toLowerCase();
    if (key === "z") return event.shiftKey ? "Ctrl+Y" : "Ctrl+Z";
    return key === "y" ? "Ctrl+Y" : null;
  }

  function onKey(event) {
    if (event.defaultPrevented || isTyping(event.target) || document.querySelector(".veil")) return;
    const key = keyOf(event);
    const button = key && document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (!button || button.disabled || button.offsetParent === null) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // the views would take it for a key of theirs
    button.click();
  }
  window.addEventListener("keydown", onKey, true);

  // --- keys that step through the slices of the view below the mouse

  let viewBelow = ""; // the mouse; the last one that it was over
  const firstView = () => document.querySelector("[data-view] .slice")?.closest("[data-view]").dataset.view ?? "";
  const chosenView = () => (document.querySelector(`[data-view="${viewBelow}"] .slice`) ? viewBelow : firstView());
  const viewAt = (event) => [...document.querySelectorAll("[data-view]")].find((view) => {
    const box = view.getBoundingClientRect();
    return box.left <= event.clientX && event.clientX < box.right && box.top <= event.clientY && event.clientY < box.bottom;
  });
  window.addEventListener("mousemove", (event) => {
    const view = event.target.closest?.(".views") && viewAt(event);
    if (view) viewBelow = view.dataset.view;
  }, true);

  const STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5 };
  function onStep(event) {
    const steps = STEPS[event.key], held = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    const isTaken = isTyping(event.target) || event.target.closest("input[type=range], input[type=radio], .scroll, [popover]");
    if (!steps || held || isTaken || document.querySelector(".veil")) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    window.trame.trigger("display_step", [chosenView(), steps]);
  }
  window.addEventListener("keydown", onStep, true);

  // --- a double-click chooses the structure that is there, while no tool is in use

  window.addEventListener("dblclick", (event) => {
    const isFree = document.querySelector('.tool[data-key="0"][aria-pressed="true"]');
    if (event.target.closest?.(".views") && !event.target.closest("input") && isFree) window.trame.trigger("place_choose");
  }, true);

  // --- the whole way of a drag: trame's remote area leaves out what the mouse passes while the program is busy

  let dragged = ""; // the view, while the left button is held
  function tellWay(event, isStart) {
    const box = document.querySelector(`[data-view="${dragged}"]`)?.getBoundingClientRect();
    const passed = isStart ? [] : event.getCoalescedEvents?.() ?? [];
    const shares = (passed.length ? passed : [event]).map((at) => [
      (at.clientX - box?.left) / box?.width, (box?.bottom - at.clientY) / box?.height]);
    if (box) window.trame.trigger("display_way", [dragged, isStart, shares]);
  }
  window.addEventListener("pointerdown", (event) => {
    const view = event.button === 0 && event.target.closest?.(".views") && !event.target.closest("input") && viewAt(event);
    dragged = view?.querySelector(".slice") ? view.dataset.view : "";
    if (dragged) tellWay(event, true);
  }, true);
  window.addEventListener("pointermove", (event) => dragged && event.buttons & 1 && tellWay(event, false), true);
  for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, () => (dragged = ""), true);

  // --- a picture of a view, with what stands over it

  const sideOf = { left: [0.01, 0.5, "left"], right: [0.99, 0.5, "right"], top: [0.5, 0.08, "center"], bottom: [0.5, 0.95, "center"] };
  function drawWords(context, view, width, height) {
    const write = (text, x, y, align, color = "#fff") => {
      context.textAlign = align;
      context.strokeText(text, x, y);
      context.fillStyle = color;
      context.fillText(text, x, y);
    };
    context.font = "13px Roboto, sans-serif";
    context.strokeStyle = "#000";
    context.lineWidth = 3;
    write(view.querySelector(".view-title").innerText.trim(), 6, 16, "left");
    for (const side of view.querySelectorAll(".side")) {
      const [x, y, align] = sideOf[[...side.classList].find((name) => name in sideOf)];
      write(side.innerText, x * width, y * height, align, "#f3f5a6");
    }
    const scale = view.querySelector(".scale"), pixels = Number(scale?.dataset.pixels);
    if (!pixels) return;
    write(scale.innerText, width - 8 - pixels / 2, height - 14, "center");
    context.fillStyle = "#000";
    context.fillRect(width - 9 - pixels, height - 10, pixels + 2, 5);
    context.fillStyle = "#fff";
    context.fillRect(width - 8 - pixels, height - 9, pixels, 3);
  }

  window.crossmodalsegPicture = () => {
    const view = document.querySelector(`[data-view="${chosenView()}"]`), picture = view?.parentElement.querySelector("img");
    if (!picture?.naturalWidth) return;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    drawWords(context, view, canvas.width, canvas.height);
    const link = document.createElement("a");
    link.href = canvas.toDataURL("image/png");
    link.download = `${view.querySelector(".view-title").innerText.trim().replace(/[^\p{L}\p{N}]+/gu, "_")}.png`;
    link.click();
  };

  // --- uploads: one file after the other, so that the limit is met early and the page can say how far it is

  const randomName = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (n) => n.toString(16).padStart(2, "0")).join("");

  function send(file, batch, onProgress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `upload/${batch}`);
      request.setRequestHeader("X-File-Name", encodeURIComponent(file.webkitRelativePath || file.name));
      request.upload.onprogress = (event) => onProgress(event.loaded);
      request.onload = () => (request.status === 204 ? resolve() : reject(new Error(request.responseText)));
      request.onerror = () => reject(new Error("The connection was lost."));
      request.send(file);
    });
  }

  window.crossmodalsegUpload = async (files, input) => {
    const status = document.getElementById("upload-progress");
    if (files.length === 0) return;
    const total = files.reduce((sum, file) => sum + file.size, 0) || 1;
    const batch = randomName();
    let sent = 0;
    try {
      for (const file of files) {
        await send(file, batch, (loaded) => {
          status.textContent = `Opening ${Math.round((100 * (sent + loaded)) / total)} %`;
        });
        sent += file.size;
      }
      status.textContent = "";
      await window.trame.trigger("files_open", [batch]);
    } catch (error) {
      status.textContent = error.message;
    } finally {
      if (input) input.value = ""; // so that the same file can be chosen again
    }
  };

  // A file that is dropped would replace the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    const input = document.getElementById("open-files");
    if (input && !input.disabled && !document.querySelector(".veil")) dropped(event.dataTransfer).then(window.crossmodalsegUpload);
  });

  async function dropped(transfer) {
    const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    return (await Promise.all(entries.map(filesOf))).flat();
  }

  async function filesOf(entry) {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      return [Object.defineProperty(file, "webkitRelativePath", { value: entry.fullPath.slice(1) })];
    }
    const reader = entry.createReader(), found = [];
    for (;;) { // a folder is told of in parts
      const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (part.length === 0) break;
      found.push(...part);
    }
    return (await Promise.all(found.map(filesOf))).flat();
  }

  // --- downloads: fetched, because a page that goes to another address closes its connection, even where that is a file

  const nameOf = (answer) => {
    const found = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("Content-Disposition") || "");
    return found ? decodeURIComponent(found[1]) : "download";
  };

  window.crossmodalsegDownload = async (what, button) => {
    button.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`download/${encodeURIComponent(what)}`);
      if (!answer.ok) throw new Error(await answer.text());
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = nameOf(answer);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    } catch (error) {
      await window.trame.trigger("dialog_tell", [error.message]);
    } finally {
      button.removeAttribute("aria-busy");
    }
  };

  // --- what the tool in use does, beside the mouse

  window.addEventListener("mousemove", (event) => {
    const note = document.getElementById("cursor-note");
    if (!note) return;
    const view = event.target.closest?.(".views");
    note.style.visibility = view && note.textContent.trim() ? "visible" : "hidden";
    const place = (at, size, end) => (at + 18 + size < end ? at + 18 : at - size - 8);
    note.style.left = `${place(event.clientX, note.offsetWidth, window.innerWidth)}px`;
    note.style.top = `${place(event.clientY, note.offsetHeight, window.innerHeight)}px`;
  }, true);

  // --- what trame's page leaves out: it may be enlarged, its pictures have names, and a window that is looked at again
  // tells the size of its views, which another window may have changed

  const viewport = document.querySelector("meta[name=viewport]");
  if (viewport) viewport.content = "width=device-width, initial-scale=1";

  function namePictures() {
    for (const view of document.querySelectorAll("[data-view]")) {
      const picture = view.parentElement.querySelector("img");
      if (picture && !picture.alt) picture.alt = view.querySelector(".view-title")?.innerText.trim() || "View";
    }
  }
  new MutationObserver(namePictures).observe(document.documentElement, { childList: true, subtree: true });

  const tellSizes = () => document.querySelector(".views")?.classList.toggle("looked-at");
  window.addEventListener("focus", tellSizes);

  // Of two windows side by side only one has the focus: pictures that another one has made larger or smaller are noticed
  // when the mouse moves.
  const pictureOf = new Map(); // by the size of the view
  let lastLook = 0;
  window.addEventListener("mousemove", (event) => {
    const view = document.querySelector("[data-view]"), picture = view?.parentElement.querySelector("img");
    if (!picture || event.timeStamp - lastLook < 500) return;
    lastLook = event.timeStamp;
    const size = `${view.clientWidth} ${view.clientHeight}`, shown = `${picture.naturalWidth} ${picture.naturalHeight}`;
    if (!pictureOf.has(size)) pictureOf.set(size, shown);
    if (pictureOf.get(size) === shown) return;
    pictureOf.delete(size);
    tellSizes();
  });

  // --- a lost connection

  function sayLost() {
    if (document.getElementById("lost-connection")) return;
    const veil = document.createElement("div");
    veil.id = "lost-connection";
    veil.setAttribute("role", "alertdialog");
    veil.innerHTML =
      "<div><p>The connection to CrossModalSeg was lost.<br>If the program still runs, nothing is lost: connect again." +
      "<br>If it was stopped, start it again and open its new address.</p><button>Connect again</button></div>";
    veil.querySelector("button").onclick = () => window.location.reload();
    document.body.append(veil);
    veil.querySelector("button").focus();
  }

  let isLeaving = false; // a reload closes the connection, too
  window.addEventListener("beforeunload", () => (isLeaving = true));
  window.trame.client.onConnectionClose(() => isLeaving || sayLost());
})();
