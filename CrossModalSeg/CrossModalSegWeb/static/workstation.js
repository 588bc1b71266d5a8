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

  window.crossmodalsegUpload = async (input) => {
    const files = [...input.files];
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
      input.value = ""; // so that the same file can be chosen again
    }
  };

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
