/// What nobody may do.
@owner("platform") @since("2024") policy closed (HttpRequest r) on * -> db { r.DropRequest(); }
