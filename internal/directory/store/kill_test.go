package store_test

const childEnv = "TOKENSVC_STORE_CHILD"

func child() int { return 0 }
