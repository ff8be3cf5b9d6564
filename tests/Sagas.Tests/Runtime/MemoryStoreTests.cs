using Sagas.Runtime;

namespace Sagas.Tests.Runtime;

public sealed class MemoryStoreTests : StoreContract
{
    readonly List<MemoryStore> _stores = [];

    private protected override async Task<ISagaStore> OpenAsync()
    {
        var store = new MemoryStore(Keep, Time);
        _stores.Add(store);
        await store.OpenAsync(default);
        return store;
    }

    private protected override Task ForgetOldAsync(ISagaStore store)
    {
        ((MemoryStore)store).Expire();
        return Task.CompletedTask;
    }

    public override async ValueTask DisposeAsync()
    {
        foreach (var store in _stores) await store.DisposeAsync();
    }
}
