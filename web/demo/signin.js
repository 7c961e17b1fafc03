// signin
