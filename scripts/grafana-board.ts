// What packaging/grafana/waylane.json must be, by Grafana's own types of the version that compose.yaml
// runs; scripts/check-packaging.sh puts the board behind it and has TypeScript's compiler compare.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel } from "@grafana/schema";
import type { Options as Stat } from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type {
    FieldConfig as Line,
    Options as TimeSeries,
} from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// What stands in a file: an enumeration's value for its name.
type Written<T> =
    T extends string ? `${T}`
    : T extends (infer Part)[] ? Written<Part>[]
    : T extends object ? { [Key in keyof T]: Written<T[Key]> }
    : T;
type Query = {
    refId: string;
    expr: string;
    legendFormat: string;
    datasource: { type: "prometheus"; uid: string };
};
type Of<Type extends string, Options, Custom> =
    Written<Omit<Panel, "type" | "options" | "fieldConfig" | "targets">> & {
        type: Type;
        targets: Query[];
        options: Written<Partial<Options>>;
        fieldConfig: {
            defaults: Written<Omit<FieldConfig, "custom">> & { custom?: Written<Custom> };
            overrides: [];
        };
    };
type Note = Written<AnnotationQuery> & { expr: string; titleFormat: string; step: string };
type Board = Written<Omit<Dashboard, "panels" | "annotations">> & {
    annotations: { list: Note[] };
    panels: (Of<"stat", Stat, never> | Of<"timeseries", TimeSeries, Line>)[];
};
const board: Board =
