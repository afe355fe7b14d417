// What a dashboard of ours may hold: Grafana's own types, made stricter. Grafana
// leaves the options of panels and queries open, since plugins bring their own;
// here each kind of panel has those of its plugin, so that a misspelt option,
// which Grafana would ignore without a word, is an error.
import type {
  AnnotationQuery, Dashboard as GrafanaDashboard, DashboardLink, DataQuery, FieldConfig, Panel as GrafanaPanel, RowPanel,
  VariableModel,
} from '@grafana/schema';
import type * as BarGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as Heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as StateTimeline from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type * as Table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// Plain is T as it is written in JSON, where the members of an enumeration are
// their plain strings.
type Plain<T> =
  unknown extends T ? T
  : T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer E> ? Array<Plain<E>>
  : { [K in keyof T]: Plain<T[K]> };

// Only what is named, and all of it: T's fields K are there, the rest may be.
type Needed<T, K extends keyof T> = Omit<T, K> & { [P in K]-?: NonNullable<T[P]> };

interface Source {
  type: 'prometheus';
  uid: '${datasource}';
}

// The fields of a query by Grafana's Prometheus data source. Its package has them
// as a type too, and would bring hundreds of others with it.
interface Query extends Omit<DataQuery, 'datasource'> {
  datasource: Source;
  editorMode: 'code';
  expr: string;
}

type Target =
  | Query & { range: true; legendFormat: string; format?: 'heatmap' }
  | Query & { range: false; instant: true; legendFormat: string }
  | Query & { range: false; instant: true; format: 'table' };

interface DataLink {
  title: string;
  url: string;
  targetBlank?: boolean;
}

type Defaults<Custom> = Needed<Omit<FieldConfig, 'custom' | 'links'>, 'unit' | 'color' | 'thresholds' | 'mappings'> & {
  links?: DataLink[];
} & ([Custom] extends [never] ? { custom?: never } : { custom: Custom });

// An override's value has the type of the field that it overrides.
type Property<Custom> =
  | { [K in keyof FieldConfig]-?: K extends 'custom' | 'links' ? never : { id: K; value: NonNullable<FieldConfig[K]> } }[keyof FieldConfig]
  | { id: 'links'; value: DataLink[] }
  | { [K in keyof Custom & string]-?: { id: `custom.${K}`; value: NonNullable<Custom[K]> } }[keyof Custom & string];

type Transformation =
  | { id: 'merge'; options: Record<string, never> }
  | { id: 'filterFieldsByName'; options: { include: { names: string[] } } }
  | {
      id: 'organize';
      options: { excludeByName: Record<string, boolean>; indexByName: Record<string, number>; renameByName: Record<string, string> };
    };

type PanelOf<Type extends string, Options, Custom> = Needed<
  Omit<GrafanaPanel, 'type' | 'datasource' | 'fieldConfig' | 'options' | 'targets' | 'transformations'>,
  'id' | 'title' | 'description' | 'gridPos'
> & {
  type: Type;
  datasource: Source;
  fieldConfig: {
    defaults: Defaults<Custom>;
    overrides: Array<{ matcher: { id: 'byName'; options: string }; properties: Array<Property<Custom>> }>;
  };
  options: Options;
  targets: Target[];
} & (Type extends 'table' ? { transformations: Transformation[] } : { transformations?: never });

type Panel =
  | PanelOf<'bargauge', BarGauge.Options, never>
  | PanelOf<'heatmap', Heatmap.Options, Heatmap.FieldConfig>
  | PanelOf<'stat', Stat.Options, never>
  | PanelOf<'state-timeline', StateTimeline.Options, StateTimeline.FieldConfig>
  | PanelOf<'table', Table.Options, Table.FieldConfig>
  | PanelOf<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>;

// An annotation of the Prometheus data source. The keys besides Grafana's own
// are those that its code reads.
type Annotation = Omit<AnnotationQuery, 'datasource' | 'target'> & {
  datasource: Source;
  target: { expr: string; interval: string; refId: 'Anno' };
  titleFormat: string;
  textFormat: string;
  useValueForTime?: boolean;
};

type Variable =
  | Needed<Omit<VariableModel, 'type' | 'datasource' | 'query'>, 'label' | 'description' | 'refresh'>
    & { type: 'datasource'; query: 'prometheus' }
  | Needed<Omit<VariableModel, 'type' | 'datasource' | 'query'>, 'label' | 'description' | 'refresh' | 'sort' | 'multi' | 'includeAll' | 'current'>
    & { type: 'query'; datasource: Source; query: string };

export type Dashboard = Plain<
  Needed<
    Omit<GrafanaDashboard, 'annotations' | 'id' | 'links' | 'panels' | 'templating'>,
    'uid' | 'title' | 'description' | 'tags' | 'refresh' | 'time' | 'timezone' | 'graphTooltip' | 'editable'
  > & {
    id: null;
    annotations: { list: Annotation[] };
    links: DashboardLink[];
    panels: Array<Panel | RowPanel>;
    templating: { list: Variable[] };
  }
>;
