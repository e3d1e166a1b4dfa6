"""The stock of a shop, in SQLite: `python stock.py`."""

import sqlite3
from contextlib import closing

from pydantic import BaseModel, PositiveInt

import micro

PUT = "INSERT INTO stock VALUES (?1, ?2) ON CONFLICT DO UPDATE SET count = count + ?2"
TAKE = "UPDATE stock SET count = count - ?2 WHERE name = ?1 AND count >= ?2"


class Items(BaseModel):
    name: str
    count: PositiveInt = 1


def change(statement: str, items: Items) -> int | None:
    with closing(sqlite3.connect("stock.db")) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS stock (name TEXT PRIMARY KEY, count INTEGER)")
        row = db.execute(f"{statement} RETURNING count", (items.name, items.count)).fetchone()
    return None if row is None else row[0]


def put(items: Items) -> int | None:  # may block: a plain function runs in a thread
    return change(PUT, items)


def take(items: Items) -> int:
    left = change(TAKE, items)
    if left is None:
        raise micro.ServiceError(409, f"not enough {items.name}")
    return left


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("stock", "1.0.0", "Keeps the stock of a shop")
    group = service.add_group("stock", timeout=5)
    await group.add_endpoint("put", put)
    await group.add_endpoint("take", take)


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
