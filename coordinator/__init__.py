"""The operator's side: gateway (strangers), ledger (memory), conductor (Ray), acceptance (judgement)."""
