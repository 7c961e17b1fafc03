package main

func actor() string { return "cli" }
