// Reads queries as {name, columns, text} from the standard input, and writes what is wrong in each.
const { createRequire } = require("node:module");
const fs = require("node:fs");
const load = createRequire(process.argv[2] + "/");
load("@kusto/language-service-next/bridge.min.js");
load("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { GlobalState, KustoCode, Symbols } = Kusto.Language;

function faults({ name, columns, text }) {
  const table = new Symbols.TableSymbol.$ctor7(name, `(${columns})`, null);
  const database = new Symbols.DatabaseSymbol.ctor("workspace", [table]);
  const globals = GlobalState.Default.WithDatabase(database);
  const found = KustoCode.ParseAndAnalyze(text, globals).GetDiagnostics();
  return Array.from({ length: found.Count }, (_, at) => found.getItem(at).Message);
}

const queries = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(queries.map(faults)));
