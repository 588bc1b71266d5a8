// What the page does by itself: keys that press buttons, uploads, and what is said when the connection is lost.
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
