import "tdesign-react/es/style/index.css";
import "./colours.css";
import "./styles.css";

import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter } from "react-router";

import { newQueryClient } from "./api/queries";
import { App } from "./app";
import { NoticesProvider } from "./parts/Notices";
import { showStoredTheme } from "./parts/theme";
import { WordsProvider } from "./words";

showStoredTheme();
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={newQueryClient()}>
      <WordsProvider>
        <NoticesProvider>
          <BrowserRouter basename="/console">
            <App />
          </BrowserRouter>
        </NoticesProvider>
      </WordsProvider>
    </QueryClientProvider>
  </StrictMode>,
);
