"use strict";
let seen = null;
setInterval(async () => {
  const { count } = await (await fetch("/latest.json")).json();
  if (seen !== null && count !== seen) location.reload();
  seen = count;
}, 1000);
