using Sagas.Runtime;

namespace Sagas.Tests.Runtime;

/// <summary>The journal on the machine's own disk.</summary>
public sealed class JournalStoreTests : StoreContract
{
    readonly string _directory = Path.Combine(Path.GetTempPath(), $"sagas-store-{Guid.NewGuid():N}");
    readonly List<JournalStore> _stores = [];

    private protected override async Task<ISagaStore> OpenAsync()
    {
        var store = new JournalStore(new JournalStoreOptions { Path = Path.Combine(_directory, $"{_stores.Count}"), SegmentBytes = 8 << 20, ReserveBytes = 1 << 20 }, Keep, Time);
        _stores.Add(store);
        await store.OpenAsync(default);
        return store;
    }

    private protected override Task ForgetOldAsync(ISagaStore store) => ((JournalStore)store).KeepHouseAsync();

    public override async ValueTask DisposeAsync()
    {
        foreach (var store in _stores) await store.DisposeAsync();
        if (Directory.Exists(_directory)) Directory.Delete(_directory, recursive: true);
    }
}
