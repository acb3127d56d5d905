/** The widget begins here; this says only that it was loaded, until there is a widget. */
document.currentScript?.setAttribute("data-docuchat-loaded", "");
