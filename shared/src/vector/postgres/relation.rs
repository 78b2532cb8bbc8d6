//! Which tables hold a model's objects, and the statements over them.

use super::id_type::IdType;
use super::names::{Identifier, Table};
use crate::task::ModelId;
use crate::vector::url_parts::{Parameters, Template};

/// How tables are named: templates for the model id.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) schema: Option<Template>,
    pub(super) table: Template,
    pub(super) id_column: Identifier,
    /// The table of the objects' parts. Only EmbeddingStudio has one.
    pub(super) parts: Option<Template>,
}

impl Layout {
    /// The layout of plain rows, from the parameters `table` and `id_column`. `None` only if there
    /// are errors.
    pub(super) fn of_rows(schema: Option<Template>, parameters: &mut Parameters) -> Option<Self> {
        for name in ["table", "id_column"] {
            parameters.require(name, parameters.has(name));
        }
        let (table, id_column) = (parameters.name("table"), parameters.fixed_name("id_column"));
        Some(Self {
            schema,
            table: table?,
            id_column: id_column?,
            parts: None,
        })
    }

    /// The tables of a model.
    ///
    /// # Errors
    /// Why no table can have the name.
    pub(super) fn of_model(&self, model: &ModelId) -> Result<Relation, String> {
        let schema = self.schema.as_ref();
        let schema = schema.map(|schema| Identifier::new(&schema.fill(model)));
        let schema = schema.transpose()?;
        let table = |name: &Template| {
            Ok::<_, String>(Table {
                schema: schema.clone(),
                name: Identifier::new(&name.fill(model))?,
            })
        };
        Ok(Relation {
            parts: self.parts.as_ref().map(table).transpose()?,
            table: table(&self.table)?,
            id_column: self.id_column.clone(),
        })
    }
}

/// The tables of one model.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) table: Table,
    pub(super) id_column: Identifier,
    pub(super) parts: Option<Table>,
}

impl Relation {
    pub(super) fn tables(&self) -> impl Iterator<Item = &Table> {
        std::iter::once(&self.table).chain(&self.parts)
    }

    /// The rights that the role needs, each with its table. `UPDATE` is for the lock on objects
    /// whose parts are deleted.
    pub(super) fn needs(&self) -> Vec<(&'static str, &Table)> {
        let of = |parts: &Option<Table>| -> &'static [&'static str] {
            match parts {
                None => &["SELECT", "DELETE"],
                Some(_) => &["SELECT", "UPDATE", "DELETE"],
            }
        };
        let of_table = of(&self.parts).iter().map(|need| (*need, &self.table));
        let of_parts = self.parts.iter();
        let of_parts = of_parts.flat_map(|parts| of(&None).iter().map(move |need| (*need, parts)));
        of_table.chain(of_parts).collect()
    }

    /// The statement that reads which of the ids `$1` exist. It also reads what shows whether the
    /// result is reliable: whether the server is a replica, for which of the tables `$2` row
    /// security is active, and the type of the ids.
    pub(super) fn read(&self, id_type: IdType) -> String {
        let (column, wanted) = (self.id_column.quoted(), id_type.parameter());
        let ids = self.tables().map(|table| {
            let table = table.quoted();
            format!("SELECT DISTINCT {column}::text FROM {table} WHERE {column} = ANY({wanted})")
        });
        let ids = ids.collect::<Vec<_>>().join(" UNION ");
        let table = self.table.quoted();
        format!(
            "SELECT pg_catalog.pg_is_in_recovery(), \
                ARRAY(SELECT pg_catalog.row_security_active(t) FROM pg_catalog.unnest($2::text[]) AS t), \
                ARRAY({ids}), pg_catalog.pg_typeof((SELECT {column} FROM {table} LIMIT 0))::oid"
        )
    }

    /// The tables as they are written for a person.
    pub(super) fn shown(&self) -> String {
        let tables: Vec<String> = self.tables().map(Table::shown).collect();
        tables.join(" or ")
    }

    /// The names of the tables as they are written in a statement.
    pub(super) fn quoted(&self) -> Vec<String> {
        self.tables().map(Table::quoted).collect()
    }

    /// The statement that deletes the rows of the ids `$1`.
    pub(super) fn delete(&self, id_type: IdType) -> String {
        let (column, wanted) = (self.id_column.quoted(), id_type.parameter());
        let table = self.table.quoted();
        format!("DELETE FROM {table} WHERE {column} = ANY({wanted})")
    }
}
