//! What all structs of options have in common.

/// Gives a struct of options a `with_*` for each of its fields: the method, the field and the type that it takes, and behind `=>` how the
/// field is made of that, if it is another one. A field that is left out does not compile, but where it is `some of` a struct that has other
/// methods for the rest.
macro_rules! with_fields {
    ($name:ident { $($setter:ident($field:ident: $taken:ty $(=> $made:expr)?),)+ }) => {
        with_fields!(some of $name { $($setter($field: $taken $(=> $made)?),)+ });

        const _: fn($name) = |options| {
            let $name { $($field: _),+ } = options;
        };
    };
    (some of $name:ident $(<$of:ident>)? { $($setter:ident($field:ident: $taken:ty $(=> $made:expr)?),)+ }) => {
        impl $(<$of>)? $name $(<$of>)? {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $taken) -> Self {
                    self.$field = with_fields!(@made $field $(=> $made)?);
                    self
                }
            )+
        }
    };
    (@made $field:ident) => { $field };
    (@made $field:ident => $made:expr) => { $made };
}
