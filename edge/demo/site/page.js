"use strict";
const $ = (id) => document.getElementById(id);

$("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});

function state(element, text, on) {
  element.textContent = text;
  element.classList.toggle("on", on);
}

const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/echo");
function line(text) {
  const item = document.createElement("li");
  item.textContent = text;
  $("echoes").prepend(item);
}
let opened = 0;
socket.onopen = () => { opened = Date.now(); state($("socket-state"), "open", true); };
socket.onmessage = (event) => line(event.data);
socket.onclose = (event) => {
  state($("socket-state"), opened ? `closed (${event.code})` : "could not open", false);
  line(`— closed ${event.reason || ""} at ${new Date().toLocaleTimeString()}`);
};
$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  if (socket.readyState === 1 && $("words").value) { socket.send($("words").value); $("words").value = ""; }
});

const events = new EventSource("/events");
events.onmessage = (event) => {
  const { number, written } = JSON.parse(event.data);
  state($("events-state"), "live", true);
  $("count").textContent = number;
  $("delay").textContent = Math.max(0, Math.round(Date.now() - written * 1000));
};
events.onerror = () => state($("events-state"), "interrupted", false);

function send(file) {
  const request = new XMLHttpRequest();
  const bar = $("progress");
  bar.hidden = false;
  request.upload.onprogress = (event) => { if (event.lengthComputable) bar.value = event.loaded / event.total; };
  request.onload = () => {
    bar.hidden = true;
    if (request.status !== 200) { $("uploaded").textContent = `refused: ${request.status}`; return; }
    const answer = JSON.parse(request.responseText);
    $("uploaded").textContent = `${file.name}: ${answer.bytes} bytes arrived, SHA-256 ${answer.sha256.slice(0, 16)}…`;
  };
  request.onerror = () => { $("uploaded").textContent = "the connection was cut"; };
  request.open("PUT", "/upload");
  request.send(file);
}
$("file").addEventListener("change", () => { if ($("file").files.length) send($("file").files[0]); });
const drop = $("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.toggle("over", kind === "dragover"); });
}
drop.addEventListener("drop", (event) => { if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]); });
