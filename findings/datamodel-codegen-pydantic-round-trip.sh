#!/usr/bin/env bash
# A pydantic model, written as JSON Schema and generated again, is another contract than the first.
#
# Packages:  datamodel-code-generator 0.89.0, pydantic 2.14.4, pydantic-core of that release
# Behaviour: the generated model refuses a message that the first one writes, since `date-time` becomes
#            `AwareDatetime`; it accepts null in each member with a default; the default of a duration
#            is the text 'PT1S' in place of a timedelta; a set becomes a list.
# Seen:      the output below
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datamodel-code-generator==0.89.0 pydantic==2.14.4

cat > "$folder/expected" <<'EXPECTED'
message of the first model:     first accepts it, generated refuses placed: timezone_aware
with a time zone, note null:     first refuses note: string_type, generated accepts it
default of `wait`:              first timedelta, generated str
type of `tags`:                 first set, generated list
EXPECTED

cat > "$folder/first.py" <<'PROGRAM'
from datetime import datetime, timedelta

from pydantic import BaseModel


class Order(BaseModel):
    placed: datetime
    tags: set[str]
    note: str = "none"
    wait: timedelta = timedelta(seconds=1)
PROGRAM

cat > "$folder/program.py" <<'PROGRAM'
import json
from datetime import datetime

import first
import generated
from pydantic import BaseModel, ValidationError


def verdict(model: type[BaseModel], message: str) -> str:
    try:
        model.model_validate_json(message)
    except ValidationError as error:
        return "refuses " + ", ".join(f"{one['loc'][0]}: {one['type']}" for one in error.errors())
    return "accepts it"


def both(message: str) -> str:
    return f"first {verdict(first.Order, message)}, generated {verdict(generated.Order, message)}"


order = first.Order(placed=datetime(2026, 1, 2, 3, 4, 5), tags={"gift"})
print(f"message of the first model:     {both(order.model_dump_json())}")
aware = json.loads(order.model_dump_json()) | {"placed": "2026-01-02T03:04:05Z"}
print(f"with a time zone, note null:     {both(json.dumps(aware | {'note': None}))}")
pair = [model.model_validate_json(json.dumps({"placed": aware["placed"], "tags": ["gift"]}))
        for model in (first.Order, generated.Order)]
for name, title in (("wait", "default of `wait`:             "), ("tags", "type of `tags`:                ")):
    kinds = [type(getattr(one, name)).__name__ for one in pair]
    print(f"{title} first {kinds[0]}, generated {kinds[1]}")
PROGRAM
cd "$folder"
venv/bin/python -c 'import json, first; print(json.dumps(first.Order.model_json_schema()))' > order.json
venv/bin/datamodel-codegen --input order.json --input-file-type jsonschema --target-python-version 3.11 \
  --output-model-type pydantic_v2.BaseModel --output generated.py 2>/dev/null
venv/bin/python program.py | tee output
diff expected output && echo "as stated"
