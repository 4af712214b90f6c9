# a comment that is copied
OSTYPE(linux)
mesh it is not
