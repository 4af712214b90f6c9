// SYNTAX TEST "source.xmesh.m4" "policies, patterns, statements"

/// Background jobs never reach `paymentdb`.
// <--- comment.line.documentation.m4 punctuation.definition.comment.m4
//                              ^^^^^^^^^^^ markup.inline.raw.m4
@owner("platform")
// <- punctuation.definition.annotation.m4
// <~-- entity.name.function.annotation.m4
//     ^^^^^^^^^^ string.quoted.double.m4
policy isolate_background (HttpRequest r)
// <------ storage.type.m4
//     ^^^^^^^^^^^^^^^^^^ entity.name.function.policy.m4
//                         ^^^^^^^^^^^ entity.name.type.entity.m4
//                                     ^ variable.parameter.m4
    on background -> * -> payment-db.v1:v2
//  ^^ keyword.other.clause.m4
//     ^^^^^^^^^^ entity.name.tag.service.m4
//                ^^ keyword.operator.arrow.m4
//                   ^ keyword.operator.wildcard.m4
//                        ^^^^^^^^^^^^^ entity.name.tag.service.m4
//                                      ^^ constant.other.version.m4
    at ingress when r.header["x-user-group"] != "beta" && !r.mark["a\"b"]
//  ^^ keyword.other.clause.m4
//     ^^^^^^^ constant.language.side.m4
//             ^^^^ keyword.other.clause.m4
//                  ^ variable.other.object.m4
//                    ^^^^^^ variable.other.property.m4
//                           ^^^^^^^^^^^^^^ string.quoted.double.m4
//                                           ^^ keyword.operator.comparison.m4
//                                                     ^^ keyword.operator.logical.m4
//                                                                  ^^ constant.character.escape.m4
    overrides canary, beta_only after label_beta
//  ^^^^^^^^^ keyword.other.clause.m4
//            ^^^^^^ entity.name.function.policy.m4
//                    ^^^^^^^^^ entity.name.function.policy.m4
//                              ^^^^^ keyword.other.clause.m4
//                                    ^^^^^^^^^^ entity.name.function.policy.m4
{
    r.DropRequest(status: 429);
//  ^ variable.other.object.m4
//    ^^^^^^^^^^^ entity.name.function.operation.m4
//                        ^^^ constant.numeric.integer.m4
    r.Split({ v1: 80%, v2: 20.5% });
//            ^^ variable.other.key.m4
//                ^^^ constant.numeric.percentage.m4
//                         ^^^^^ constant.numeric.percentage.m4
    let limit = 250ms;
//  ^^^ storage.type.let.m4
//      ^^^^^ variable.other.constant.m4
//              ^^^^^ constant.numeric.duration.m4
    if (r.target starts_with "/cart" || r.method in ["GET", "HEAD"]) { r.SetTimeout(2s); } else { r.AllowRequest(); }
//  ^^ keyword.control.conditional.m4
//               ^^^^^^^^^^^ keyword.operator.word.m4
//                                   ^^ keyword.operator.logical.m4
//                                               ^^ keyword.operator.word.m4
//                                                                                  ^^ constant.numeric.duration.m4
//                                                                                         ^^^^ keyword.control.conditional.m4
    if (r.target matches r"/v[0-9]+\.(a|b)?" && exists r.header["x"]) { }
//               ^^^^^^^ keyword.operator.word.m4
//                       ^ storage.type.string.m4
//                          ^ string.regexp.m4
//                           ^^^^^ constant.other.character-class.regexp.m4
//                                ^ keyword.operator.quantifier.regexp.m4
//                                 ^^ constant.character.escape.regexp.m4
//                                     ^ keyword.operator.or.regexp.m4
//                                              ^^^^^^ keyword.operator.word.m4
}

policy p (HttpRequest r) on outside -> @edge -> (!audit)* -> (a | "odd name") -> [kind: store]->? when true {}
//                          ^^^^^^^ constant.language.outside.m4
//                                     ^ keyword.operator.group.m4
//                                      ^^^^ variable.other.group.m4
//                                               ^ keyword.operator.pattern.m4
//                                                ^^^^^ entity.name.tag.service.m4
//                                                      ^ keyword.operator.wildcard.m4
//                                                              ^ keyword.operator.pattern.m4
//                                                                ^^^^^^^^^^ string.quoted.double.m4
//                                                                                ^^^^ variable.other.label.m4
//                                                                                      ^^^^^ constant.other.label.m4
//                                                                                            ^^ keyword.operator.arrow.m4
//                                                                                              ^ keyword.operator.wildcard.m4
//                                                                                                ^^^^ keyword.other.clause.m4
//                                                                                                     ^^^^ constant.language.boolean.m4
policy arrow (HttpRequest r) on cart->redis-cart {}
//                              ^^^^ entity.name.tag.service.m4
//                                  ^^ keyword.operator.arrow.m4
//                                    ^^^^^^^^^^ entity.name.tag.service.m4
state TokenBucket limiter(rate: 100/s, burst: 20) per r.peer;
// <----- storage.type.m4
//    ^^^^^^^^^^^ entity.name.type.entity.m4
//                ^^^^^^^ variable.other.state.m4
//                              ^^^^^ constant.numeric.rate.m4
//                                            ^^ constant.numeric.integer.m4
//                                                ^^^ keyword.other.clause.m4
test "beta users reach experimental" {
// <---- storage.type.m4
    request GET "/" on outside -> frontend with header["x-user-group"] = "beta";
//  ^^^^^^^ keyword.other.member.m4
//          ^^^ constant.language.method.m4
//                     ^^^^^^^ constant.language.outside.m4
//                                ^^^^^^^^ entity.name.tag.service.m4
//                                         ^^^^ keyword.other.clause.m4
    expect allow; /* the end */
//  ^^^^^^ keyword.other.member.m4
//                ^^^^^^^^^^^^^ comment.block.m4
}
