divert(-1)
define(`greet', `Hello, $1.')
divert(0)greet(`world')
mesh with the words of ours
