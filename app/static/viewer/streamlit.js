// What a component and the page that it lies in say to each other: Streamlit's messages, without its npm package.
"use strict";

const page = {
  say(type, more = {}) {
    window.parent.postMessage({ isStreamlitMessage: true, type: `streamlit:${type}`, ...more }, "*");
  },
  ready(onRender) {
    window.addEventListener("message", (event) => {
      if (event.source === window.parent && event.data.type === "streamlit:render") onRender(event.data.args, event.data.theme);
    });
    page.say("componentReady", { apiVersion: 1 });
  },
  height(pixels) {
    page.say("setFrameHeight", { height: Math.ceil(pixels) });
  },
  answer(value) {
    page.say("setComponentValue", { value, dataType: "json" });
  },
};
