// SYNTAX TEST "source.xmesh.m4" "imports, meshes, entities, specs"

import "core.m4";
// <------ keyword.control.import.m4
//     ^^^^^^^^^ string.quoted.double.m4
mesh boutique {
// <---- storage.type.m4
//   ^^^^^^^^ entity.name.namespace.m4
    graph "boutique.graph.yaml";
//  ^^^^^ keyword.other.member.m4
    dataplanes ebpf, envoy;
//  ^^^^^^^^^^ keyword.other.member.m4
//             ^^^^ entity.name.namespace.m4
//                   ^^^^^ entity.name.namespace.m4
    place redis-cart never envoy; cost ebpf on cart 3;
//  ^^^^^ keyword.other.member.m4
//        ^^^^^^^^^^ entity.name.tag.service.m4
//                   ^^^^^ storage.modifier.m4
//                         ^^^^^ entity.name.namespace.m4
//                                ^^^^ keyword.other.member.m4
//                                             ^^^^ entity.name.tag.service.m4
//                                                  ^ constant.numeric.integer.m4
    group edge = { frontend, load-generator };
//  ^^^^^ keyword.other.member.m4
//        ^^^^ variable.other.group.m4
//                 ^^^^^^^^ entity.name.tag.service.m4
//                           ^^^^^^^^^^^^^^ entity.name.tag.service.m4
    default HttpRequest.verdict = deny on * -> experimental;   // a comment
//  ^^^^^^^ keyword.other.member.m4
//          ^^^^^^^^^^^ entity.name.type.entity.m4
//                      ^^^^^^^ variable.other.property.m4
//                                     ^^ keyword.other.clause.m4
//                                        ^ keyword.operator.wildcard.m4
//                                             ^^^^^^^^^^^^ entity.name.tag.service.m4
//                                                             ^^^^^^^^^^^^ comment.line.double-slash.m4
}
enum Verdict { allow, deny terminal }
// <---- storage.type.m4
//   ^^^^^^^ entity.name.type.enum.m4
//             ^^^^^ variable.other.enummember.m4
//                    ^^^^ variable.other.enummember.m4
//                         ^^^^^^^^ storage.modifier.m4
entity HttpRequest over TcpConnection {
// <------ storage.type.m4
//     ^^^^^^^^^^^ entity.name.type.entity.m4
//                 ^^^^ keyword.other.clause.m4
//                      ^^^^^^^^^^^^^ entity.name.type.entity.m4
    attribute method: string in r"[A-Z]+";
//  ^^^^^^^^^ storage.type.m4
//            ^^^^^^ variable.other.property.m4
//                    ^^^^^^ support.type.m4
//                           ^^ keyword.operator.word.m4
//                                ^^^^^ constant.other.character-class.regexp.m4
    attribute header[name: istring]: string? travels;
//                   ^^^^ variable.parameter.m4
//                         ^^^^^^^ support.type.m4
//                                   ^^^^^^ support.type.m4
//                                         ^ keyword.operator.optional.m4
//                                           ^^^^^^^ storage.modifier.m4
    attribute verdict: Verdict default allow;
//                     ^^^^^^^ support.type.m4
//                             ^^^^^^^ keyword.other.clause.m4
    attribute status: int merge min default 403;
//                        ^^^^^ keyword.other.clause.m4
//                              ^^^ support.function.merge.m4
//                                          ^^^ constant.numeric.integer.m4
    attribute code: int in 400..599 merge min;
//                  ^^^ support.type.m4
//                      ^^ keyword.operator.word.m4
//                         ^^^ constant.numeric.m4
//                            ^^ keyword.operator.range.m4
//                              ^^^ constant.numeric.m4
//                                  ^^^^^ keyword.other.clause.m4
    attribute share[to: service]: percent in 0.5%..;
//                      ^^^^^^^ support.type.m4
//                                           ^^^^ constant.numeric.m4
//                                               ^^ keyword.operator.range.m4
    operation Split(versions: map<version, percent>) at egress writes route = versions;
//  ^^^^^^^^^ storage.type.m4
//            ^^^^^ entity.name.function.operation.m4
//                  ^^^^^^^^ variable.parameter.m4
//                            ^^^ support.type.m4
//                                ^^^^^^^ support.type.m4
//                                         ^^^^^^^ support.type.m4
//                                                   ^^ keyword.other.clause.m4
//                                                      ^^^^^^ constant.language.side.m4
//                                                             ^^^^^^ keyword.other.clause.m4
}
spec ebpf {
// <---- storage.type.m4
//   ^^^^ entity.name.namespace.m4
    tier kernel;
//  ^^^^ keyword.other.member.m4
//       ^^^^^^ constant.language.m4
    cost 1;
//  ^^^^ keyword.other.member.m4
//       ^ constant.numeric.integer.m4
    context reads, writes;
//  ^^^^^^^ keyword.other.member.m4
//          ^^^^^ keyword.other.clause.m4
    peer egress, ingress;
//  ^^^^ keyword.other.member.m4
//       ^^^^^^ constant.language.side.m4
    speaks "http", "grpc";
//  ^^^^^^ keyword.other.member.m4
//         ^^^^^^ string.quoted.double.m4
    artifact "envoy.yaml" from "envoy.yaml.j2" per service;
//  ^^^^^^^^ keyword.other.member.m4
//                        ^^^^ keyword.other.clause.m4
//                                             ^^^ keyword.other.clause.m4
//                                                 ^^^^^^^ constant.language.m4
    supports HttpRequest {
//  ^^^^^^^^ keyword.other.member.m4
//           ^^^^^^^^^^^ entity.name.type.entity.m4
        reads target with (== != in starts_with) at ingress;
//      ^^^^^ keyword.other.member.m4
//                   ^^^^ keyword.other.clause.m4
//                         ^^ keyword.operator.comparison.m4
//                               ^^ keyword.operator.word.m4
//                                  ^^^^^^^^^^^ keyword.operator.word.m4
//                                               ^^ keyword.other.clause.m4
        operation AllowRequest emits "verdict.c.j2";
//                             ^^^^^ keyword.other.clause.m4
    }
}
