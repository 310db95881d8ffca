// Shows new mails while the list is open. Focus and scrolling stay where they are.
const list = document.getElementById("live");

async function refresh() {
  if (!document.hidden) {
    try {
      const response = await fetch(location.href);
      const next = response.ok && new DOMParser().parseFromString(await response.text(), "text/html").getElementById("live");
      if (next && next.innerHTML !== list.innerHTML) {
        const focused = list.contains(document.activeElement) && document.activeElement.getAttribute("href");
        list.replaceChildren(...next.childNodes);
        if (focused) {
          list.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
        }
      }
    } catch {
      // The relay is away; it may come back.
    }
  }
  setTimeout(refresh, 2000);
}

if (list) {
  setTimeout(refresh, 2000);
}
