// token
