using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Microsoft.AspNetCore.Http;
using Sagas.Runtime;

namespace Sagas.AspNetCore;

// From OpenTelemetry's names to Prometheus': dots become underscores; a unit that is a unit is said in full at the end (s: seconds, By: bytes), one in
// braces is not; a counter ends in _total. "sagas.duration" in "s" is sagas_duration_seconds, "sagas.started" in "{saga}" is sagas_started_total.

/// <summary>The engine's metrics as Prometheus reads them (text format 0.0.4). Adds up from when it was made.</summary>
internal sealed class MetricsText : IDisposable
{
    /// <summary>More series of one metric than this are not kept: no label may grow without bound.</summary>
    public const int MaxSeries = 1000;

    private static readonly double[] Seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
    private readonly Lock _lock = new();
    private readonly List<Metric> _metrics = [];
    private readonly MeterListener _listener = new();
    private volatile SagaEngine? _engine;   // once it is known

    public MetricsText()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name != "Sagas" || IsForeign(instrument)) return;
            var metric = new Metric(instrument);
            lock (_lock) _metrics.Add(metric);
            listener.EnableMeasurementEvents(instrument, metric);
        };
        _listener.MeasurementsCompleted = (_, metric) =>
        {
            lock (_lock) _metrics.Remove((Metric)metric!);
        };
        _listener.SetMeasurementEventCallback<long>((_, value, tags, metric) => Take((Metric)metric!, value, tags));
        _listener.SetMeasurementEventCallback<int>((_, value, tags, metric) => Take((Metric)metric!, value, tags));
        _listener.SetMeasurementEventCallback<double>((_, value, tags, metric) => Take((Metric)metric!, value, tags));
        _listener.Start();
    }

    public Task AnswerAsync(HttpContext http)
    {
        http.Response.ContentType = "text/plain; version=0.0.4; charset=utf-8";
        return http.Response.WriteAsync(Write(http.Engine()), http.RequestAborted);
    }

    /// <summary>All metrics, gauges as they are now; those of another engine in this process are that engine's.</summary>
    public string Write(SagaEngine engine)
    {
        Metric[] ours;
        if (_engine is null)
        {
            _engine = engine;
            lock (_lock) ours = [.. _metrics];
            foreach (var metric in ours.Where(metric => IsForeign(metric.Instrument))) _listener.DisableMeasurementEvents(metric.Instrument);
        }
        lock (_lock) ours = [.. _metrics.Where(metric => !IsForeign(metric.Instrument)).OrderBy(metric => metric.Name, StringComparer.Ordinal)];
        foreach (var metric in ours.Where(metric => metric.IsObserved))
            lock (metric.Series) metric.Series.Clear();
        try
        {
            _listener.RecordObservableInstruments();
        }
        catch (AggregateException)
        {
            // A gauge that cannot be read now has no value; all others have been read.
        }
        var text = new StringBuilder();
        foreach (var metric in ours) metric.Write(text);
        return text.ToString();
    }

    public void Dispose() => _listener.Dispose();

    private bool IsForeign(Instrument instrument) => _engine is { } engine && instrument.Meter.Scope is { } scope && !ReferenceEquals(scope, engine);

    private void Take(Metric metric, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        var labels = Labels(tags);
        lock (metric.Series)
        {
            if (!metric.Series.TryGetValue(labels, out var series))
            {
                if (metric.Series.Count >= MaxSeries) return;
                metric.Series[labels] = series = new Series(metric.Bounds);
            }
            // An observed value is the whole; all else adds up.
            series.Take(value, metric.IsObserved);
        }
    }

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty) return "";
        var text = new StringBuilder();
        foreach (var (key, value) in tags)
            text.Append(text.Length > 0 ? "," : "").Append(key.Replace('.', '_')).Append("=\"")
                .Append((Convert.ToString(value, CultureInfo.InvariantCulture) ?? "").Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("\n", "\\n")).Append('"');
        return text.ToString();
    }

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);

    private sealed class Metric
    {
        public Metric(Instrument instrument)
        {
            var type = instrument.GetType().GetGenericTypeDefinition();
            Instrument = instrument;
            Kind = type == typeof(Histogram<>) ? "histogram" : type == typeof(Counter<>) || type == typeof(ObservableCounter<>) ? "counter" : "gauge";
            IsObserved = instrument.IsObservable;
            var unit = instrument.Unit switch { "s" => "_seconds", "ms" => "_milliseconds", "By" => "_bytes", _ => "" };
            Name = instrument.Name.Replace('.', '_').Replace('-', '_') + unit + (Kind == "counter" ? "_total" : "");
            Help = instrument.Description ?? "";
            Bounds = Kind != "histogram" ? null : (instrument as Instrument<double>)?.Advice?.HistogramBucketBoundaries?.ToArray() ?? Seconds;
        }

        public Instrument Instrument { get; }
        public string Name { get; }
        public string Kind { get; }
        public string Help { get; }
        public bool IsObserved { get; }
        public double[]? Bounds { get; }
        public Dictionary<string, Series> Series { get; } = [];

        public void Write(StringBuilder text)
        {
            lock (Series)
            {
                text.Append($"# HELP {Name} {Help.Replace("\\", "\\\\").Replace("\n", "\\n")}\n# TYPE {Name} {Kind}\n");
                // What has not happened yet has happened 0 times: rates are right from the first time on.
                if (Series.Count == 0 && Kind == "counter" && !IsObserved) text.Append($"{Name} 0\n");
                foreach (var (labels, series) in Series.OrderBy(pair => pair.Key, StringComparer.Ordinal)) series.Write(text, Name, labels, Bounds);
            }
        }
    }

    private sealed class Series(double[]? bounds)
    {
        private readonly long[]? _buckets = bounds is null ? null : new long[bounds.Length + 1];
        private double _sum;
        private long _count;

        public void Take(double value, bool whole)
        {
            if (_buckets is not null)
            {
                var at = 0;
                while (at < bounds!.Length && value > bounds[at]) at++;
                _buckets[at]++;
                _count++;
                _sum += value;
            }
            else _sum = whole ? value : _sum + value;
        }

        public void Write(StringBuilder text, string name, string labels, double[]? bounds)
        {
            var braced = labels.Length > 0 ? $"{{{labels}}}" : "";
            if (_buckets is null)
            {
                text.Append($"{name}{braced} {Number(_sum)}\n");
                return;
            }
            var before = labels.Length > 0 ? labels + "," : "";
            var sum = 0L;
            for (var i = 0; i < bounds!.Length; i++) text.Append($"{name}_bucket{{{before}le=\"{Number(bounds[i])}\"}} {sum += _buckets[i]}\n");
            text.Append($"{name}_bucket{{{before}le=\"+Inf\"}} {_count}\n{name}_sum{braced} {Number(_sum)}\n{name}_count{braced} {_count}\n");
        }
    }
}
