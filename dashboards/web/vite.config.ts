import react from '@vitejs/plugin-react'
import { defineConfig } from 'vite'

// Where the API is while developing: SAGAS_URL=http://127.0.0.1:5080 npm run dev
const server = process.env['SAGAS_URL'] ?? 'http://127.0.0.1:5080'
const proxy = Object.fromEntries(['/api', '/health', '/metrics', '/swagger'].map(path => [path, { target: server, changeOrigin: true }]))
// What the server sends with the page; a preview that allows more would hide mistakes.
const headers = { 'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'" }

export default defineConfig({
  // Relative: the same files work at / and under any path base.
  base: './',
  plugins: [react()],
  server: { proxy },
  preview: { proxy, headers },
  build: { target: 'es2023', assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1600 },
})
