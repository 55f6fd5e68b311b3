package http1

const canSplice = true
