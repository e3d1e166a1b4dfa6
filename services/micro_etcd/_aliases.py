"""Names that etcetra's users may have in their annotations."""

from micro_etcd._model.txn import DeleteOp, GetOp, PutOp, TxnResult

PutRequestType = PutOp
RangeRequestType = GetOp
DeleteRangeRequestType = DeleteOp
TransactionRequest = PutOp | GetOp | DeleteOp
NoneType = type(None)
TxnReturnValues = list[str | None]
TxnReturnType = TxnResult
