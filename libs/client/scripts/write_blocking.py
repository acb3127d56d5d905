"""Writes the synchronous client, `docuchat_client/blocking`, from the asynchronous one; `--check` names what is stale.

Each public method becomes one of the same name, parameters and description that has the asynchronous one run on the
loop of a thread. What differs in more than that is written by hand in `docuchat_client/sync.py`.
"""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "docuchat_client"
FOLDER = PACKAGE / "blocking"
PARTS = {
    "accounts": "Accounts", "asking": "Asking", "chatbots": "Chatbots", "chats": "Chats", "compatible": "Compatible",
    "documents": "Documents", "exports": "Exports", "following": "Following", "model_providers": "ModelProviders",
    "operators": "OperatorClient", "people": "People", "sharing": "Sharing", "tenancy": "Tenancy",
    "uploading": "Uploading",
}  # fmt: skip
BY_HAND = {"login", "openai"}
Method = ast.FunctionDef | ast.AsyncFunctionDef


def write(module: str) -> str:
    """The synchronous part of a module."""
    source = ast.parse((PACKAGE / f"{module}.py").read_text())
    client = "OperatorClient" if module == "operators" else "AsyncDocuChat"
    part = next(node for node in source.body if isinstance(node, ast.ClassDef) and node.name == PARTS[module])
    made = ast.parse(f"class {part.name}(Blocking):\n    _client: {client}").body[0]
    assert isinstance(made, ast.ClassDef)
    made.name = f"Blocking{part.name}"
    made.body[:0] = [node for node in part.body[:1] if isinstance(node, ast.Expr)]
    made.body += [blocking(node, source) for node in part.body if isinstance(node, Method) and is_offered(node)]
    used = {node.id for node in ast.walk(made) if isinstance(node, ast.Name)}
    imports = [
        ast.parse("from __future__ import annotations").body[0],
        *(narrowed for node in source.body if (narrowed := needed(node, used))),
        *own(module, source, used),
        *ast.parse(f"from docuchat_client.{'operators' if client == 'OperatorClient' else 'aio'} import {client}").body,
        *ast.parse("from docuchat_client.blocking.runtime import Blocking").body,
    ]
    if "BlockingAnswerStream" in used:
        imports += ast.parse("from docuchat_client.blocking.runtime import BlockingAnswerStream").body
    if "Iterator" in used:
        imports += ast.parse("from collections.abc import Iterator").body
    head = f'"""Written by scripts/write_blocking.py from {module}.py: `make openapi` writes it again."""\n\n'
    return tidy(head + ast.unparse(ast.Module([*imports, made], [])))


def is_offered(method: Method) -> bool:
    return not method.name.startswith("_") and method.name not in BY_HAND


def blocking(method: Method, source: ast.Module) -> ast.FunctionDef:
    """The method for synchronous code."""
    arguments, returns = copy.deepcopy(method.args), method.returns
    for default in (*arguments.defaults, *arguments.kw_defaults):
        if isinstance(default, ast.Name) and default.id.startswith("_"):
            inline(default, arguments, source)
    kept = method.body[:1] if ast.get_docstring(method) else []
    if method.decorator_list:
        body = f"return self._client.{method.name}"
        if len(arguments.args) > 1:
            body = f"self._client.{method.name} = {arguments.args[1].arg}"
    else:
        given = [argument.arg for argument in arguments.args[1:]]
        given += [f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs]
        given += [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
        call = f"self._client.{method.name}({', '.join(given)})"
        if isinstance(returns, ast.Subscript) and ast.unparse(returns.value) in ("AsyncIterator", "AsyncGenerator"):
            items = returns.slice.elts[0] if isinstance(returns.slice, ast.Tuple) else returns.slice
            body, returns = (
                f"return self._loop.iterate({call})",
                ast.parse(f"Iterator[{ast.unparse(items)}]").body[0].value,
            )
        elif returns is not None and ast.unparse(returns) == "AnswerStream":
            body, returns = f"return BlockingAnswerStream(self._loop, {call})", ast.Name("BlockingAnswerStream")
        else:
            assert isinstance(method, ast.AsyncFunctionDef), f"{method.name} is neither async nor a stream"
            nothing = isinstance(returns, ast.Constant) and returns.value is None
            body = f"{'' if nothing else 'return '}self._loop.run({call})"
    return ast.FunctionDef(
        method.name, arguments, [*kept, *ast.parse(body).body], method.decorator_list, returns, type_params=[], lineno=0
    )


def inline(default: ast.Name, arguments: ast.arguments, source: ast.Module) -> None:
    """Put the value of a module's own constant in its place."""
    for node in source.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == default.id:
            value = node.value
            arguments.defaults = [value if one is default else one for one in arguments.defaults]
            arguments.kw_defaults = [value if one is default else one for one in arguments.kw_defaults]


def needed(node: ast.stmt, used: set[str]) -> ast.ImportFrom | ast.Import | None:
    """What of an import is used."""
    if isinstance(node, ast.ImportFrom | ast.Import) and getattr(node, "module", "") != "__future__":
        names = [one for one in node.names if (one.asname or one.name) in used]
        if names and isinstance(node, ast.ImportFrom):
            return ast.ImportFrom(node.module, names, node.level)
        return ast.Import(names) if names else None
    return None


def own(module: str, source: ast.Module, used: set[str]) -> Iterator[ast.stmt]:
    """Imports of what the module itself defines, such as the name of a type."""
    for node in source.body:
        if isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name) and target.id in used:
            yield from ast.parse(f"from docuchat_client.{module} import {target.id}").body


def tidy(text: str) -> str:
    """The text as the house formats it."""
    for arguments in (["check", "--quiet", "--fix", "--select", "I"], ["format", "--quiet"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", FOLDER / "part.py", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603 - our own
        text = done.stdout
    return text


def main() -> int:
    """Write or check; the exit status."""
    stale = []
    for module in PARTS:
        path, text = FOLDER / f"{module}.py", write(module)
        if not path.exists() or path.read_text() != text:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(stale)}; run {Path(__file__).name}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
