// Where things are found: dashboards by their uid, pages by their address.

export const BOARDS = { ban: 'sallyport-ban', doors: 'sallyport-doors', fleet: 'sallyport-fleet' };

export const REPOSITORY = 'https://github.com/sallyport/sallyport';

// doc is the address of a page of the documentation.
export const doc = (page) => `${REPOSITORY}/blob/main/docs/${page}`;
