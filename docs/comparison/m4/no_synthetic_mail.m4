/// Orders of synthetic load are mailed to nobody: the mailer is told so.
policy no_synthetic_mail (HttpRequest r)
    on loadgenerator -> * -> emailservice
{
    r.SetHeader("x-dry-run", "yes");
}
