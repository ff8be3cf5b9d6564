using Sagas.Testing.Simulator;
using Sagas.Runtime;
using Shouldly;

namespace Sagas.Tests.Runtime;

/// <summary>
/// Sagas on a simulated disk, and what may be found of each after a crash: at least the version that was acknowledged, at most the last that was
/// tried, whole, with its history up to there; of a finished one that is too old, nothing.
/// </summary>
sealed class StoreWorld
{
    static readonly TimeSpan Keep = TimeSpan.FromHours(1);

    readonly Dictionary<string, Known> _sagas = [];
    int _started;

    public StoppedClock Time { get; } = new(TestSagas.Noon);

    public JournalStoreOptions Options { get; init; } = new() { Path = "/data/store", SegmentBytes = 1 << 13, ReserveBytes = 1 << 12, Preallocate = true };

    public IEnumerable<SagaCommit> Open => _sagas.Values.Select(static known => known.Last).Where(static last => !last.State.Ended);

    public int Count => _sagas.Count;

    public JournalStore Store(SimulatedDisk disk) => new(Options, Keep, Time, disk);

    public async Task<JournalStore> OpenAsync(SimulatedDisk disk, string story = "")
    {
        var store = Store(disk);
        var open = await store.OpenAsync(default);
        await CheckAsync(store, open, story);
        return store;
    }

    public SagaCommit Start(int padding = 0) => TestSagas.Start($"s{++_started:D4}", $"d{_started % 3}", Time.Now, $"\"{new string('x', padding)}\"", ("n", $"{_started % 10}"));

    public async Task CommitAsync(JournalStore store, params SagaCommit[] commits)
    {
        foreach (var commit in commits)
        {
            var id = commit.State.Id.Value;
            if (!_sagas.TryGetValue(id, out var known)) _sagas[id] = known = new Known();
            known.Versions.Add(commit);
        }

        (await store.CommitAsync(commits, default)).ShouldAllBe(static outcome => outcome == CommitOutcome.Committed);
        foreach (var commit in commits) _sagas[commit.State.Id.Value].Acknowledged = (int)commit.State.Version;
    }

    /// <summary>Compares all that the store shows with what is known; what it shows is then known for certain.</summary>
    public async Task CheckAsync(JournalStore store, IReadOnlyList<SagaState>? opened = null, string story = "")
    {
        var listed = new Dictionary<string, SagaState>();
        string? cursor = null;
        do
        {
            var (items, next) = await store.ListAsync(new SagaFilter(), 50, cursor, default);
            foreach (var saga in items) listed.Add(saga.Id.Value, saga);
            cursor = next;
        }
        while (cursor is not null);

        foreach (var (id, known) in _sagas.ToArray())
        {
            var found = await store.FindAsync(new SagaId(id), default);
            found.Text().ShouldBe(listed.GetValueOrDefault(id).Text(), story);
            if (found is null)
            {
                var mayBeGone = known.Acknowledged == 0 || known.Versions.Skip(known.Acknowledged - 1).Any(commit => commit.State.Ended && commit.State.FinishedAt <= Time.Now - Keep);
                mayBeGone.ShouldBeTrue($"{story}: {id} is lost; version {known.Acknowledged} was acknowledged");
                (await store.HistoryAsync(new SagaId(id), 0, 100, default)).ShouldBeNull(story);
                _sagas.Remove(id);
                continue;
            }

            found.Version.ShouldBeInRange(known.Acknowledged, known.Versions.Count, $"{story}: {id}");
            known.Versions.RemoveRange((int)found.Version, known.Versions.Count - (int)found.Version);
            known.Acknowledged = (int)found.Version;
            found.Text().ShouldBe(known.Last.State.Text(), story);
            (await store.HistoryAsync(found.Id, 0, int.MaxValue, default))!.ShouldBe(known.Versions.SelectMany(static commit => commit.History), $"{story}: {id}");
        }

        listed.Count.ShouldBe(_sagas.Count, story);
        (await store.CountAsync(new SagaFilter(), default)).OrderBy(static pair => pair.Key)
            .ShouldBe(listed.Values.CountBy(static saga => saga.Status).Select(static pair => KeyValuePair.Create(pair.Key, (long)pair.Value)).OrderBy(static pair => pair.Key), story);
        (await store.ListAsync(new SagaFilter(Text: "7"), 100, null, default)).Items.Select(static saga => saga.Id.Value)
            .ShouldBe(listed.Values.Where(static saga => saga.Tags["n"] == "7").Select(static saga => saga.Id.Value), story);
        opened?.Select(static saga => saga.Text()).Order(StringComparer.Ordinal)
            .ShouldBe(listed.Values.Where(static saga => !saga.Ended).Select(static saga => saga.Text()).Order(StringComparer.Ordinal), story);
    }

    sealed class Known
    {
        public List<SagaCommit> Versions { get; } = [];

        public int Acknowledged { get; set; }

        public SagaCommit Last => Versions[^1];
    }
}
