import { defaultClientConditions, defineConfig } from "vite";

/** One classic script without chunks, styles of their own, or names that it leaves on the page. */
export default defineConfig({
  resolve: { conditions: ["source", ...defaultClientConditions] },
  build: {
    target: "es2022",
    outDir: "build",
    modulePreload: false,
    cssCodeSplit: false,
    assetsInlineLimit: Number.POSITIVE_INFINITY,
    reportCompressedSize: false,
    lib: { entry: "src/main.ts", formats: ["iife"], name: "DocuChatWidget", fileName: () => "widget.js" },
  },
});
