# A comment as other languages have it is an error, and the file is ours.
policy "é 😀" (HttpRequest r)
    on web -> e
{
}
