//! `#[derive(Settings)]`: sections from structs, choices from enums. The doc comments are the documentation.
//!
//! A field is a key; its name has `-` instead of `_`. A field of the type `Option<T>` is optional. Its
//! attribute `#[setting(…)]` takes
//!
//! - `default = "2s"`: the default, as a user would write it; the type must not be an `Option`;
//! - `words = "the host's name"`: a description of the default;
//! - `min = 1`, `max = 1 << 30`: bounds, instead of those of the type;
//! - `example = "…"`: an example value in YAML;
//! - `unset = "(the system's)"`: what is shown if it is missing;
//! - `name = "…"`: another name;
//! - `flag = "…"`, `ask = "…"`, `suggest = "…"`, `instead = "…"`, `subject`: how `init` asks for it.
//!
//! `#[setting(section = "NAME")]` on a struct makes it a section with its own name (`NamedSection`), documented by
//! the doc comment of the struct.
//!
//! A variant is a word; a variant with a field is a word with a value. `name`, `min` and `max` are as for a
//! field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, Data, DataEnum, DeriveInput, Error, Expr, Fields, FieldsNamed, GenericArgument, Ident, Lit,
    LitStr, Meta, PathArguments, Type, parse_macro_input, spanned::Spanned as _,
};

/// Implements a section for a struct and a choice for an enum.
#[proc_macro_derive(Settings, attributes(setting))]
pub fn settings(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let tokens = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => section(&input.ident, fields)
                .and_then(|tokens| Ok([tokens, named_section(&input)?].into_iter().collect())),
            other => Err(Error::new(other.span(), "a section requires named fields")),
        },
        Data::Enum(data) => choice(&input.ident, data),
        Data::Union(data) => Err(Error::new(data.union_token.span, "a union cannot be a setting")),
    };
    tokens.unwrap_or_else(Error::into_compile_error).into()
}

/// The attribute of a field or a variant.
#[derive(Default)]
struct Attributes {
    name: Option<String>,
    default: Option<String>,
    words: Option<String>,
    min: Option<Expr>,
    max: Option<Expr>,
    example: String,
    unset: Option<String>,
    flag: Option<String>,
    ask: String,
    suggest: Option<String>,
    instead: String,
    is_subject: bool,
    section: Option<String>,
}

impl Attributes {
    fn of(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut found = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("setting")) {
            attribute.parse_nested_meta(|meta| {
                let text = || meta.value()?.parse::<LitStr>().map(|text| text.value());
                match meta.path.require_ident()?.to_string().as_str() {
                    "name" => found.name = Some(text()?),
                    "default" => found.default = Some(text()?),
                    "words" => found.words = Some(text()?),
                    "min" => found.min = Some(meta.value()?.parse()?),
                    "max" => found.max = Some(meta.value()?.parse()?),
                    "example" => found.example = text()?,
                    "unset" => found.unset = Some(text()?),
                    "flag" => found.flag = Some(text()?),
                    "ask" => found.ask = text()?,
                    "suggest" => found.suggest = Some(text()?),
                    "instead" => found.instead = text()?,
                    "subject" => found.is_subject = true,
                    "section" => found.section = Some(text()?),
                    _ => return Err(meta.error("unknown attribute of a setting")),
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn bounds(&self, kind: &Type) -> TokenStream {
        let own = quote!(<#kind as ::x_msrv_settings::Setting>::BOUNDS);
        let min = self.min.as_ref().map_or_else(|| quote!(#own.min), |min| quote!(#min));
        let max = self.max.as_ref().map_or_else(|| quote!(#own.max), |max| quote!(#max));
        quote!(::x_msrv_settings::Bounds { min: #min, max: #max })
    }

    fn ask(&self) -> TokenStream {
        if self.flag.is_none() && self.suggest.is_none() {
            return quote!(::core::option::Option::None);
        }
        let Self { ask: question, instead, is_subject, .. } = self;
        let (flag, suggest) =
            (self.flag.clone().unwrap_or_default(), self.suggest.clone().unwrap_or_default());
        quote!(::core::option::Option::Some(::x_msrv_settings::Ask {
            flag: #flag, question: #question, suggest: #suggest, instead: #instead, is_subject: #is_subject,
        }))
    }
}

/// Returns the doc comment: the lines of a paragraph are joined by spaces, paragraphs are separated by empty
/// lines.
fn doc(attributes: &[Attribute]) -> syn::Result<String> {
    let mut paragraphs = vec![String::new()];
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(meta) = &attribute.meta else { continue };
        let Expr::Lit(text) = &meta.value else { continue };
        let Lit::Str(text) = &text.lit else { continue };
        let text = text.value();
        let last = paragraphs.last_mut().expect("never empty");
        match text.trim() {
            "" if !last.is_empty() => paragraphs.push(String::new()),
            line if last.is_empty() => last.push_str(line),
            line => {
                last.push(' ');
                last.push_str(line);
            }
        }
    }
    let doc = paragraphs.join("\n\n");
    if doc.trim().is_empty() {
        let place = attributes.first().map_or_else(proc_macro2::Span::call_site, syn::spanned::Spanned::span);
        return Err(Error::new(place, "a setting requires a doc comment"));
    }
    Ok(doc.trim_end().to_owned())
}

/// Returns the name in kebab case.
fn kebab(name: &Ident) -> String {
    let mut kebab = String::new();
    for letter in name.to_string().trim_start_matches("r#").chars() {
        match letter {
            '_' => kebab.push('-'),
            letter if letter.is_uppercase() => {
                if !kebab.is_empty() {
                    kebab.push('-');
                }
                kebab.extend(letter.to_lowercase());
            }
            letter => kebab.push(letter),
        }
    }
    kebab
}

/// Returns the `T` of `Option<T>`.
fn inside_option(kind: &Type) -> Option<&Type> {
    let Type::Path(path) = kind else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(kind) => Some(kind),
        _ => None,
    }
}

fn section(name: &Ident, fields: &FieldsNamed) -> syn::Result<TokenStream> {
    let (mut keys, mut reads, mut tells, mut idents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (index, field) in fields.named.iter().enumerate() {
        let ident = field.ident.as_ref().expect("it is a named field");
        let attributes = Attributes::of(&field.attrs)?;
        let doc = doc(&field.attrs).map_err(|error| Error::new(ident.span(), error))?;
        let key = attributes.name.clone().unwrap_or_else(|| kebab(ident));
        let optional = inside_option(&field.ty);
        let kind = optional.unwrap_or(&field.ty);
        let (bounds, ask, example) = (attributes.bounds(kind), attributes.ask(), &attributes.example);
        let at = quote!(&<Self as ::x_msrv_settings::Section>::KEYS[#index]);
        let (presence, read) = match (&attributes.default, optional) {
            (Some(_), Some(_)) => {
                return Err(Error::new(ident.span(), "a setting with a default cannot be an Option"));
            }
            (Some(default), None) => (
                quote!(::x_msrv_settings::Presence::Default(#default)),
                quote!(reader.defaulted::<#kind>(section, #at, #default)),
            ),
            (None, Some(_)) => (
                attributes.words.as_ref().map_or_else(
                    || quote!(::x_msrv_settings::Presence::Optional),
                    |words| quote!(::x_msrv_settings::Presence::Words(#words)),
                ),
                quote!(reader.optional::<#kind>(section, #at)),
            ),
            (None, None) => (
                quote!(::x_msrv_settings::Presence::Required),
                quote!(reader.required::<#kind>(section, #at)),
            ),
        };
        keys.push(quote!(::x_msrv_settings::Key {
            name: #key, doc: #doc, kind: <#kind as ::x_msrv_settings::Setting>::KIND, bounds: #bounds,
            presence: #presence, example: #example, ask: #ask,
            check: |found, reader| reader.value::<#kind>(found, #bounds).is_some(),
        }));
        reads.push(quote!(let #ident = #read;));
        let tell = |value| quote!(::x_msrv_settings::Setting::tell(#value, &::x_msrv_settings::join(key, #key), told));
        tells.push(match (optional, &attributes.unset) {
            (None, _) => tell(quote!(&self.#ident)),
            (Some(_), unset) => {
                let told = tell(quote!(value));
                let unset = unset.as_ref().map_or_else(
                    || quote!({}),
                    |unset| quote!(told.line(&::x_msrv_settings::join(key, #key), #unset)),
                );
                quote!(match &self.#ident {
                    ::core::option::Option::Some(value) => #told,
                    ::core::option::Option::None => #unset,
                })
            }
        });
        idents.push(ident);
    }
    Ok(quote! {
        impl ::x_msrv_settings::Section for #name {
            const KEYS: &'static [::x_msrv_settings::Key] = &[#(#keys),*];

            fn read_keys(
                section: &::x_msrv_settings::Map<::std::string::String, ::x_msrv_settings::Value>,
                reader: &mut ::x_msrv_settings::Reader<'_>,
            ) -> ::core::option::Option<Self> {
                #(#reads)*
                ::core::option::Option::Some(Self { #(#idents: #idents?),* })
            }

            fn tell_section(&self, key: &str, told: &mut ::x_msrv_settings::Told) {
                #(#tells;)*
            }
        }

        impl ::x_msrv_settings::Setting for #name {
            const KIND: ::x_msrv_settings::Kind =
                ::x_msrv_settings::Kind::Section(<Self as ::x_msrv_settings::Section>::KEYS);

            fn read(
                found: &::x_msrv_settings::Value,
                reader: &mut ::x_msrv_settings::Reader<'_>,
            ) -> ::core::option::Option<Self> {
                let section = reader.section(found)?;
                <Self as ::x_msrv_settings::Section>::read_section(section, reader)
            }

            fn tell(&self, key: &str, told: &mut ::x_msrv_settings::Told) {
                ::x_msrv_settings::Section::tell_section(self, key, told);
            }
        }
    })
}

/// Nothing for a section without a name of its own.
fn named_section(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Some(section) = Attributes::of(&input.attrs)?.section else { return Ok(TokenStream::new()) };
    let (name, doc) =
        (&input.ident, doc(&input.attrs).map_err(|error| Error::new(input.ident.span(), error))?);
    Ok(quote! {
        impl ::x_msrv_settings::NamedSection for #name {
            const SECTION: ::x_msrv_settings::Key =
                ::x_msrv_settings::Key::section(#section, #doc, <Self as ::x_msrv_settings::Section>::KEYS);
        }
    })
}

fn choice(name: &Ident, data: &DataEnum) -> syn::Result<TokenStream> {
    let (mut words, mut units, mut values, mut tells) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for variant in &data.variants {
        let ident = &variant.ident;
        let attributes = Attributes::of(&variant.attrs)?;
        let doc = doc(&variant.attrs).map_err(|error| Error::new(ident.span(), error))?;
        let word = attributes.name.clone().unwrap_or_else(|| kebab(ident));
        let value = match &variant.fields {
            Fields::Unit => {
                units.push(quote!(#word => ::core::option::Option::Some(Self::#ident),));
                tells.push(quote!(Self::#ident => told.line(key, #word),));
                quote!(::core::option::Option::None)
            }
            Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
                let kind = &fields.unnamed[0].ty;
                let bounds = attributes.bounds(kind);
                values.push(quote!(#word => reader.value::<#kind>(value, #bounds).map(Self::#ident),));
                tells.push(quote!(Self::#ident(value) => {
                    let value = told.inline(|told| ::x_msrv_settings::Setting::tell(value, "", told));
                    told.line(key, ::std::format!("{{{}: {value}}}", #word));
                }));
                quote!(::core::option::Option::Some((<#kind as ::x_msrv_settings::Setting>::KIND, #bounds)))
            }
            other => return Err(Error::new(other.span(), "a word takes at most one value")),
        };
        words.push(quote!(::x_msrv_settings::Word { name: #word, doc: #doc, value: #value }));
    }
    Ok(quote! {
        impl #name {
            const WORDS: &'static [::x_msrv_settings::Word] = &[#(#words),*];
        }

        impl ::x_msrv_settings::Setting for #name {
            const KIND: ::x_msrv_settings::Kind = ::x_msrv_settings::Kind::Choice(Self::WORDS);

            fn read(
                found: &::x_msrv_settings::Value,
                reader: &mut ::x_msrv_settings::Reader<'_>,
            ) -> ::core::option::Option<Self> {
                let (word, value) = reader.choice(found, Self::WORDS)?;
                match value {
                    ::core::option::Option::None => match word {
                        #(#units)*
                        _ => ::core::option::Option::None,
                    },
                    ::core::option::Option::Some(value) => reader.within(word, |reader| {
                        let _ = (value, &reader);
                        match word {
                            #(#values)*
                            _ => ::core::option::Option::None,
                        }
                    }),
                }
            }

            fn tell(&self, key: &str, told: &mut ::x_msrv_settings::Told) {
                match self { #(#tells)* }
            }
        }
    })
}
