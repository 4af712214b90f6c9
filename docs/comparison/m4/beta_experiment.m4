/// Recommendations are an experiment for beta users.
policy beta_experiment (HttpRequest r)
    on * -> recommendationservice
    when r.header["x-user-group"] != "beta"
{
    r.DropRequest();
}
